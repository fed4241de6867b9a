//! What may befall a cluster.

use super::{timeline::Random, wire::Weather};
use oribi_model::NodeId;

#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// The process ends at once; the system closes its connections.
    Kill(NodeId),
    Start(NodeId),
    /// The process stands still for so long, µs. Its connections stand.
    Pause(NodeId, u64),
    /// The disk syncs nothing for so long, µs.
    Stall(NodeId, u64),
    /// Nothing gets from the first to the second; the connections stand.
    Shut(NodeId, NodeId),
    ShutBoth(NodeId, NodeId),
    /// The connections between the two break.
    Reset(NodeId, NodeId),
    /// All ways are open again.
    OpenAll,
    Weather(Weather),
}

impl Fault {
    /// Any of them.
    pub(super) fn draw(random: &mut Random, nodes: &[NodeId]) -> Fault {
        let one = random.pick(nodes);
        let others: Vec<NodeId> = nodes.iter().copied().filter(|node| *node != one).collect();
        let other = random.pick(&others);
        match random.below(13) {
            0 | 1 => Fault::Kill(one),
            2..=4 => Fault::Start(one),
            5 => Fault::Pause(one, random.within((1_000, 3_000_000))),
            6 => Fault::Stall(one, random.within((1_000, 6_000_000))),
            7 => Fault::Shut(one, other),
            8 => Fault::ShutBoth(one, other),
            9 => Fault::Reset(one, other),
            10 | 11 => Fault::OpenAll,
            _ => Fault::Weather(random.pick(&[Weather::CALM, Weather::ROUGH])),
        }
    }
}
