//! What a node sends to every other one, ten times a second.

use crate::Boot;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use oribi_model::NodeId;
use std::collections::BTreeSet;

/// Nodes that a ping names at most.
pub const NODES_MAX: usize = 4_096;
const HEAD_BYTES: usize = 56;

/// How a node is, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// How long ago the last write was synced of those by which the disk is tried, ms.
    pub disk_age_ms: u32,
    /// How full its memtables are, in thousandths of their bound.
    pub memtables_permille: u16,
    /// The newest entry of the catalog that it has applied.
    pub catalog_index: u64,
    /// Its wall clock, ns since 1970.
    pub clock_ns: i64,
    /// Whether it wants to lead nothing, as it is about to end.
    pub leaves_lead: bool,
}

/// The newest ping of the receiver that the sender has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Echo {
    /// Of which run of the receiver.
    pub boot: Boot,
    /// Its number.
    pub number: u64,
}

/// One ping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ping {
    /// Which run of the sender.
    pub boot: Boot,
    /// Counted from 1 in each run, for each receiver.
    pub number: u64,
    /// What the sender got last; `None` where that is nothing.
    pub echo: Option<Echo>,
    /// How the sender is.
    pub health: Health,
    /// The nodes that the sender trusts: it hears them, and they hear it.
    pub trusted: BTreeSet<NodeId>,
}

impl Ping {
    /// `boot u64 | number u64 | echo boot u64 | echo number u64 | disk u32 | memtables u16 |
    /// catalog u64 | clock i64 | count u16 | node u32 … | leaves u8`, little-endian; an echo of number
    /// 0 is none. The last byte may be missing, and a later version may put more behind it.
    pub fn encode(&self) -> Bytes {
        let nodes = self.trusted.iter().take(NODES_MAX);
        let mut out = BytesMut::with_capacity(HEAD_BYTES + 4 * nodes.len() + 1);
        out.put_u64_le(self.boot.0);
        out.put_u64_le(self.number);
        let echo = self.echo.unwrap_or(Echo { boot: Boot(0), number: 0 });
        out.put_u64_le(echo.boot.0);
        out.put_u64_le(echo.number);
        out.put_u32_le(self.health.disk_age_ms);
        out.put_u16_le(self.health.memtables_permille);
        out.put_u64_le(self.health.catalog_index);
        out.put_i64_le(self.health.clock_ns);
        out.put_u16_le(nodes.len() as u16);
        nodes.for_each(|node| out.put_u32_le(node.0));
        out.put_u8(u8::from(self.health.leaves_lead));
        out.freeze()
    }

    /// Reads what [`Ping::encode`] gave; `None` where it is none.
    pub fn decode(mut body: &[u8]) -> Option<Ping> {
        if body.len() < HEAD_BYTES {
            return None;
        }
        let (boot, number) = (Boot(body.get_u64_le()), body.get_u64_le());
        let echo = Echo { boot: Boot(body.get_u64_le()), number: body.get_u64_le() };
        let mut health = Health {
            disk_age_ms: body.get_u32_le(),
            memtables_permille: body.get_u16_le(),
            catalog_index: body.get_u64_le(),
            clock_ns: body.get_i64_le(),
            leaves_lead: false,
        };
        let count = usize::from(body.get_u16_le());
        if count > NODES_MAX || body.len() < 4 * count || number == 0 {
            return None;
        }
        let trusted = (0..count).map(|_| NodeId(body.get_u32_le())).collect();
        health.leaves_lead = body.try_get_u8().is_ok_and(|leaves| leaves == 1);
        let echo = Some(echo).filter(|echo| echo.number > 0);
        Some(Ping { boot, number, echo, health, trusted })
    }
}
