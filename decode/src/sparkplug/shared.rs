//! Edge nodes that several threads hear.

use super::{EdgeNode, LastBirth, Outcome, SparkplugNodes};
use crate::Fault;
use parking_lot::Mutex;

/// What a message said of edge nodes beside its rows.
#[derive(Debug, Default)]
pub struct EdgeNews {
    /// The node that has to be asked for its births.
    pub rebirth: Option<EdgeNode>,
    /// Births and deaths, in their order.
    pub births: Vec<LastBirth>,
}

/// The edge nodes of a source.
#[derive(Debug, Default)]
pub struct SharedNodes(Mutex<SparkplugNodes>);

impl SharedNodes {
    /// As [`SparkplugNodes::take`].
    ///
    /// # Errors
    /// As there.
    pub fn take(&self, topic: &str, payload: &[u8], now_ns: i64) -> Result<Outcome, Fault> {
        self.0.lock().take(topic, payload, now_ns)
    }

    /// As [`SparkplugNodes::restore`].
    ///
    /// # Errors
    /// As there.
    pub fn restore(&self, birth: &LastBirth) -> Result<(), Fault> {
        self.0.lock().restore(birth)
    }
}
