//! Which node runs which connector.

use super::Catalog;
use crate::planted::{Fault, is_planted};
use oribi_model::{Name, NodeId};
use serde::{Deserialize, Serialize};

/// The node that runs a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorSeat {
    /// Which one.
    pub node: NodeId,
    /// Since when: no two seats of a cluster have the same epoch, and a later one has a greater one.
    pub epoch: u64,
}

impl Catalog {
    /// The node that runs a connector; `None` where none was ever given it.
    pub fn seat_of(&self, connector: &str) -> Option<ConnectorSeat> {
        self.seats.get(connector).copied()
    }

    /// How many connectors a node runs.
    pub fn seats_on(&self, node: NodeId) -> usize {
        self.seats.values().filter(|seat| seat.node == node).count()
    }

    pub(super) fn seat_connector(
        &mut self,
        connector: &Name,
        node: NodeId,
        after: u64,
    ) -> Result<(), String> {
        let before = self.seat_of(connector);
        if before.map_or(0, |seat| seat.epoch) != after {
            let holder = before.map_or("nobody".to_owned(), |seat| format!("node {}", seat.node));
            return Err(format!(
                "the connector {connector} was taken meanwhile; now {holder} has it"
            ));
        }
        self.last_seat += 1;
        let seat = ConnectorSeat { node, epoch: self.last_seat };
        self.seats.insert_mut(connector.clone(), seat);
        Ok(())
    }

    /// Whether who runs a connector since `epoch` may still say how far it has got.
    pub(super) fn check_seat(&self, connector: &Name, epoch: Option<u64>) -> Result<(), String> {
        let Some(epoch) = epoch.filter(|_| !is_planted(Fault::OldEpochTaken)) else {
            return Ok(());
        };
        match self.seat_of(connector) {
            Some(seat) if seat.epoch == epoch => Ok(()),
            Some(seat) => Err(format!("node {} runs the connector {connector} now", seat.node)),
            // One that is made anew under this name begins where it is told to.
            None => Err(format!("the connector {connector} was dropped meanwhile")),
        }
    }
}
