//! The cluster that a node belongs to, `[cluster]` in the configuration file.

use serde::{Deserialize, Deserializer};
use std::path::PathBuf;

/// What may be set for a node among others.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClusterOptions {
    /// Nodes of the cluster to join, each `HOST:PORT`.
    #[serde(deserialize_with = "addresses")]
    pub(crate) join: Vec<String>,
    /// File with the secret that all nodes of the cluster are started with.
    pub(crate) join_secret_file: Option<PathBuf>,
    /// Where other nodes reach this one, `HOST:PORT`; the address bound when absent.
    pub(crate) advertise: Option<String>,
    /// How long a node may be dead before its replicas are made anew on others, s.
    pub(crate) replace_after_s: u64,
    /// How long a group of several replicas is quiet before they sleep, s; 0 for never.
    pub(crate) sleep_after_s: u64,
}

impl Default for ClusterOptions {
    fn default() -> ClusterOptions {
        let (join, join_secret_file, advertise) = Default::default();
        ClusterOptions {
            join,
            join_secret_file,
            advertise,
            replace_after_s: 300,
            sleep_after_s: 120,
        }
    }
}

impl ClusterOptions {
    /// Checks that addresses are such.
    ///
    /// # Errors
    /// Names the key and what was expected.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let named = self.join.iter().map(|address| ("join", address));
        for (key, address) in named.chain(self.advertise.iter().map(|one| ("advertise", one))) {
            if host_and_port(address).is_none() {
                return Err(format!("{key} is {address:?}; expected HOST:PORT"));
            }
        }
        if self.replace_after_s == 0 {
            return Err("replace_after_s is 0; expected at least 1".into());
        }
        Ok(())
    }

    /// The host at which other nodes reach this one, where it was set.
    pub(crate) fn host(&self) -> Option<&str> {
        self.advertise.as_deref().and_then(host_and_port).map(|(host, _)| host)
    }
}

fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then_some((host, port))
}

/// A list, or one text with commas as a flag or variable has it.
fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected HOST:PORT, or a list of such")]
    enum Given {
        Text(String),
        List(Vec<String>),
    }
    let list = match Given::deserialize(deserializer)? {
        Given::Text(text) => text.split(',').map(|one| one.trim().to_owned()).collect(),
        Given::List(list) => list,
    };
    Ok(list.into_iter().filter(|address: &String| !address.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_list_or_stand_between_commas() {
        let read = |text: &str| toml::from_str::<ClusterOptions>(text).map(|options| options.join);
        assert_eq!(read("join = \"a:1, b:2\"").unwrap(), ["a:1", "b:2"]);
        assert_eq!(read("join = [\"a:1\", \"b:2\"]").unwrap(), ["a:1", "b:2"]);
        assert!(read("join = \"\"").unwrap().is_empty());
        assert!(read("join = 7").unwrap_err().to_string().contains("HOST:PORT"));
    }

    #[test]
    fn what_is_no_address_is_refused_by_its_key() {
        let of = |join: &str, advertise: Option<&str>| {
            let (join, advertise) = (vec![join.to_owned()], advertise.map(str::to_owned));
            ClusterOptions { join, advertise, ..ClusterOptions::default() }.validate()
        };
        for good in ["a:1", "[::1]:8641", "127.0.0.1:8641"] {
            assert_eq!(of(good, Some(good)), Ok(()));
        }
        for wrong in ["a", "a:", ":1", "a:0", "a:99999", "http://a"] {
            assert!(of(wrong, None).unwrap_err().starts_with("join"));
            assert!(of("a:1", Some(wrong)).unwrap_err().starts_with("advertise"));
        }
        let at_once = ClusterOptions { replace_after_s: 0, ..ClusterOptions::default() };
        assert!(at_once.validate().unwrap_err().starts_with("replace_after_s"));
    }
}
