//! What a client of an MQTT broker needs, whether it takes in or passes on.

mod transport;

pub(crate) use transport::{network, tls, transport};

use crate::connector::Common;

/// The client id: the one given, or the connector's own.
pub(crate) fn client_id(given: Option<&str>, common: &Common) -> String {
    given.map_or_else(|| format!("oribi-{}", common.name), str::to_owned)
}
