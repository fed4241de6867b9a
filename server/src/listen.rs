//! Sockets to listen on: bound first, so that a taken port is told before anything is touched.

use crate::config::{ClusterOptions, Config};
use anyhow::{Context, Result, anyhow, bail};
use oribi_cluster::{
    JoinOptions, NodeAddresses,
    secured::{Admission, KeyHolder, NodeKey},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    sync::Arc,
};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;

/// What to do about a port that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Say so and stop.
    Refuse,
    /// Take a free port.
    TakeFree,
}

/// A bound socket.
#[derive(Debug)]
pub(crate) struct Bound {
    /// It listens already.
    pub(crate) socket: TcpListener,
    /// Its address, with the real port.
    pub(crate) address: SocketAddr,
    /// Whether it is another port than asked for, as that was taken.
    pub(crate) is_elsewhere: bool,
}

/// The sockets of a node.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// HTTP.
    pub(crate) http: Bound,
    /// MQTT.
    pub(crate) mqtt: Bound,
    /// Other nodes.
    pub(crate) node: Bound,
    /// MQTT over TLS, where it is wanted.
    pub(crate) mqtts: Option<Bound>,
}

impl Listeners {
    /// Binds all addresses of the configuration.
    ///
    /// # Errors
    /// Names the flag of an address that cannot be bound.
    pub(crate) fn bind(config: &Config, taken: Taken) -> Result<Listeners> {
        let addresses = [
            ("--http-listen", &config.http_listen),
            ("--mqtt-listen", &config.mqtt_listen),
            ("--node-listen", &config.node_listen),
        ];
        let mut resolved = Vec::new();
        for (flag, text) in addresses {
            resolved.push((flag, resolve(flag, text)?));
        }
        let mut sockets = resolved.into_iter().map(|(flag, address)| bind(flag, address, taken));
        let mut next = || sockets.next().unwrap_or_else(|| Err(anyhow!("no address is left")));
        let (http, mqtt, node) = (next()?, next()?, next()?);
        let mqtts = config.mqtts_listen.as_deref().map(|text| {
            const FLAG: &str = "--mqtts-listen";
            bind(FLAG, resolve(FLAG, text)?, taken)
        });
        Ok(Listeners { http, mqtt, node, mqtts: mqtts.transpose()? })
    }
}

impl Listeners {
    /// What the node tells others of itself, and whom it asks for a cluster.
    pub(crate) fn join_options(
        &self,
        options: &ClusterOptions,
        key: Arc<NodeKey>,
        admission: Admission,
        cluster_key: Arc<KeyHolder>,
    ) -> JoinOptions {
        let told = |bound: SocketAddr| match options.host() {
            Some(host) if bound.ip().is_unspecified() => format!("{host}:{}", bound.port()),
            _ => bound.to_string(),
        };
        let node = options.advertise.clone().unwrap_or_else(|| self.node.address.to_string());
        let (http, mqtt) = (told(self.http.address), told(self.mqtt.address));
        let addresses = NodeAddresses { node, http, mqtt };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let ClusterOptions { replace_after_s, sleep_after_s, .. } = *options;
        let join = options.join.clone();
        JoinOptions {
            join,
            addresses,
            version,
            replace_after_s,
            sleep_after_s,
            replaces: None,
            key,
            admission,
            cluster_key,
        }
    }
}

/// The address that a flag names.
///
/// # Errors
/// Names the flag.
pub(crate) fn resolve(flag: &str, text: &str) -> Result<SocketAddr> {
    let expected = "expected HOST:PORT such as 127.0.0.1:8640";
    let mut found = text
        .to_socket_addrs()
        .with_context(|| format!("cannot use {flag} {text:?}; {expected}"))?;
    found.next().ok_or_else(|| anyhow!("{flag} {text:?} names no address; {expected}"))
}

fn bind(flag: &str, address: SocketAddr, taken: Taken) -> Result<Bound> {
    let port = address.port();
    let mut is_elsewhere = false;
    let socket = match listen(address) {
        Err(wrong) if wrong.kind() == ErrorKind::AddrInUse && taken == Taken::TakeFree => {
            is_elsewhere = true;
            let free = SocketAddr::new(address.ip(), 0);
            listen(free).with_context(|| format!("cannot bind a free port for {flag}"))?
        }
        Err(wrong) if wrong.kind() == ErrorKind::AddrInUse => bail!(
            "port {port} of {flag} is taken by another program; stop that, or choose another port \
             with {flag} {}:PORT (0 picks a free one)",
            address.ip()
        ),
        Err(wrong) if wrong.kind() == ErrorKind::PermissionDenied => bail!(
            "port {port} of {flag} may not be bound by this user; choose one above 1023 with {flag}"
        ),
        socket => socket.with_context(|| format!("cannot bind {address} of {flag}"))?,
    };
    let address = socket.local_addr().with_context(|| format!("cannot name {flag}'s address"))?;
    Ok(Bound { socket, address, is_elsewhere })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections of the process before.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(http: &str) -> Config {
        let free = "127.0.0.1:0".to_owned();
        Config {
            http_listen: http.into(),
            mqtt_listen: free.clone(),
            node_listen: free,
            ..Config::default()
        }
    }

    #[test]
    fn a_taken_port_is_told_with_its_flag_or_replaced() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = holder.local_addr().unwrap();
        let config = config(&taken.to_string());
        let text = Listeners::bind(&config, Taken::Refuse).unwrap_err().to_string();
        assert!(
            text.contains(&format!("port {} of --http-listen is taken", taken.port())),
            "{text}"
        );
        let bound = Listeners::bind(&config, Taken::TakeFree).unwrap();
        assert_ne!(bound.http.address.port(), taken.port());
    }

    #[test]
    fn what_is_no_address_is_told() {
        let config = config("8640");
        let text = format!("{:#}", Listeners::bind(&config, Taken::Refuse).unwrap_err());
        assert!(text.contains("HOST:PORT"), "{text}");
    }
}
