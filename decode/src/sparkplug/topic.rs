//! Topics of the namespace `spBv1.0`.

use crate::{Fault, excerpt};

/// An edge node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EdgeNode {
    /// Its group's id.
    pub group: String,
    /// Its own id within the group.
    pub node: String,
}

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Birth,
    Data,
    Death,
}

/// Whom a message is from or for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Topic<'a> {
    /// An edge node, or a device behind it.
    Edge { edge: EdgeNode, device: Option<&'a str>, kind: Kind },
    /// A command for one of them, or the state of a host application: none is a measurement.
    Other,
}

impl<'a> Topic<'a> {
    /// Takes `spBv1.0/GROUP/TYPE/NODE[/DEVICE]` apart.
    pub(super) fn parse(text: &'a str) -> Result<Topic<'a>, Fault> {
        let wrong = || {
            let topic = excerpt(text, 128);
            let detail = format!(
                "the topic {topic:?} is none of Sparkplug B: spBv1.0/GROUP/TYPE/NODE[/DEVICE]"
            );
            Fault::syntax(detail)
        };
        let levels: Vec<&str> = text.splitn(6, '/').collect();
        let (group, kind, node, device) = match *levels {
            ["spBv1.0", "STATE", host] if !host.is_empty() => return Ok(Topic::Other),
            ["spBv1.0", group, kind, node] => (group, kind, node, None),
            ["spBv1.0", group, kind, node, device] => (group, kind, node, Some(device)),
            _ => return Err(wrong()),
        };
        if [group, node, device.unwrap_or("-")].contains(&"") {
            return Err(wrong());
        }
        let kind = match (kind, device.is_some()) {
            ("NBIRTH", false) | ("DBIRTH", true) => Kind::Birth,
            ("NDATA", false) | ("DDATA", true) => Kind::Data,
            ("NDEATH", false) | ("DDEATH", true) => Kind::Death,
            ("NCMD", false) | ("DCMD", true) => return Ok(Topic::Other),
            _ => return Err(wrong()),
        };
        let edge = EdgeNode { group: group.to_owned(), node: node.to_owned() };
        Ok(Topic::Edge { edge, device, kind })
    }
}
