//! What the addresses of the listeners ask for: tokens, TLS, or nothing of it on loopback.

use crate::{
    config::{AuthMode, Config, TokenMode},
    listen::resolve,
};
use anyhow::{Result, bail};
use std::fmt;

/// Who is served in clear text by the HTTP listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain {
    /// Everybody.
    All,
    /// Programs of this machine.
    Loopback,
}

/// Whether a listener speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// Who may join the cluster where its nodes have no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joins {
    /// Nodes of this machine.
    Loopback,
    /// Whoever reaches the port for nodes.
    Anybody,
    /// Nobody.
    Nobody,
}

/// What holds for all listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Posture {
    /// Whether tokens are asked for.
    pub(crate) tokens: TokenMode,
    /// Who may do without TLS.
    pub(crate) plain: Plain,
    /// Whether HTTP speaks TLS beside.
    pub(crate) tls: Tls,
    /// Who may join where there is no secret.
    pub(crate) joins: Joins,
}

impl fmt::Display for Posture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |is_on| if is_on { "on" } else { "off" };
        let (tokens, tls) = (on(self.tokens == TokenMode::On), on(self.tls == Tls::On));
        write!(f, "tokens {tokens}, tls {tls}")
    }
}

impl Posture {
    /// What the configuration asks for.
    ///
    /// # Errors
    /// A listener that others could reach without what keeps them out.
    pub(crate) fn of(config: &Config) -> Result<Posture> {
        let (mut is_reached, mut nodes_are_reached) = (false, false);
        let named = [
            ("--http-listen", Some(&config.http_listen)),
            ("--mqtt-listen", Some(&config.mqtt_listen)),
            ("--mqtts-listen", config.mqtts_listen.as_ref()),
            ("--node-listen", Some(&config.node_listen)),
        ];
        for (flag, text) in named {
            let Some(text) = text else { continue };
            if resolve(flag, text)?.ip().to_canonical().is_loopback() {
                continue;
            }
            is_reached = true;
            nodes_are_reached |= flag == "--node-listen";
            match flag {
                _ if config.insecure => {}
                "--mqtt-listen" => bail!(
                    "{flag} {text} is not a loopback address, and what devices send there can be read \
                     by others; use --mqtts-listen, which speaks TLS, or pass --insecure if this is \
                     what you want"
                ),
                "--node-listen" if config.cluster.join_secret_file.is_none() => bail!(
                    "{flag} {text} is not a loopback address, so that anybody who can reach it could join; \
                     start all nodes with the same --join-secret-file, or pass --insecure if that is what \
                     you want"
                ),
                _ => {}
            }
        }
        let must = is_reached && !config.insecure;
        if must && config.auth.mode == AuthMode::Off {
            bail!(
                "auth.mode is off and a listener is not on a loopback address, so that anybody who can \
                 reach it could read, write and delete; pass --insecure if that is what you want"
            );
        }
        let has_pair = config.tls.cert_file.is_some();
        let tokens = match config.auth.mode {
            AuthMode::On => TokenMode::On,
            AuthMode::Auto if must => TokenMode::On,
            AuthMode::Auto | AuthMode::Off => TokenMode::Off,
        };
        Ok(Posture {
            tokens,
            joins: match tokens {
                _ if nodes_are_reached => Joins::Anybody,
                TokenMode::Off => Joins::Loopback,
                TokenMode::On => Joins::Nobody,
            },
            plain: if must { Plain::Loopback } else { Plain::All },
            tls: if has_pair || is_reached { Tls::On } else { Tls::Off },
        })
    }

    /// Says at each start what is open to others.
    pub(crate) fn warn(self, config: &Config) {
        if !config.insecure || self.tls == Tls::Off {
            return;
        }
        if self.joins == Joins::Anybody && config.cluster.join_secret_file.is_none() {
            tracing::warn!("insecure: whoever can reach the port for nodes can join the cluster");
        }
        match self.tokens {
            TokenMode::Off => tracing::warn!(
                "insecure: anybody who can reach the listeners can read, write and delete"
            ),
            TokenMode::On => {
                tracing::warn!("insecure: tokens travel readable where TLS is not used")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posture(change: impl FnOnce(&mut Config)) -> Result<Posture> {
        let mut config = Config::default();
        change(&mut config);
        Posture::of(&config)
    }

    #[test]
    fn loopback_asks_for_nothing_unless_told() {
        let plain = posture(|_| {}).unwrap();
        assert_eq!((plain.tokens, plain.tls), (TokenMode::Off, Tls::Off));
        let on = posture(|config| config.auth.mode = AuthMode::On).unwrap();
        assert_eq!((on.tokens, on.plain), (TokenMode::On, Plain::All));
        let off = posture(|config| config.auth.mode = AuthMode::Off).unwrap();
        assert_eq!(off.tokens, TokenMode::Off);
    }

    #[test]
    fn whoever_is_reached_asks_for_tokens_over_tls() {
        let reached = |config: &mut Config| config.http_listen = "0.0.0.0:8640".into();
        let on = posture(reached).unwrap();
        assert_eq!((on.tokens, on.plain, on.tls), (TokenMode::On, Plain::Loopback, Tls::On));
        let devices = posture(|config| config.mqtts_listen = Some("0.0.0.0:8883".into())).unwrap();
        assert_eq!(devices.tokens, TokenMode::On);
        let open = posture(|config| {
            reached(config);
            config.insecure = true;
        });
        assert_eq!(
            open.unwrap(),
            Posture {
                tokens: TokenMode::Off,
                plain: Plain::All,
                tls: Tls::On,
                joins: Joins::Loopback
            }
        );
        let readable = posture(|config| {
            reached(config);
            (config.insecure, config.auth.mode) = (true, AuthMode::On);
        });
        assert_eq!(readable.unwrap().tokens, TokenMode::On);
    }

    #[test]
    fn what_would_be_open_to_others_is_refused() {
        let refusal = |change: fn(&mut Config)| posture(change).unwrap_err().to_string();
        let mqtt = refusal(|config| config.mqtt_listen = "0.0.0.0:1883".into());
        assert!(mqtt.contains("--mqtts-listen") && mqtt.contains("--insecure"), "{mqtt}");
        let node = refusal(|config| config.node_listen = "0.0.0.0:8641".into());
        assert!(node.contains("--node-listen") && node.contains("--join-secret-file"), "{node}");
        let with_secret = posture(|config| {
            config.node_listen = "0.0.0.0:8641".into();
            config.cluster.join_secret_file = Some("secret".into());
        });
        assert_eq!(with_secret.unwrap().tokens, TokenMode::On);
        let off = refusal(|config| {
            config.http_listen = "0.0.0.0:8640".into();
            config.auth.mode = AuthMode::Off;
        });
        assert!(off.contains("auth.mode"), "{off}");
    }
}
