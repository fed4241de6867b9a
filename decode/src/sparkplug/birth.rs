//! What has to be kept of births so that aliases are known when the process starts anew.

use super::{
    BIRTH_SEQ,
    payload::{Payload, Raw},
    topic::EdgeNode,
};
use crate::wire::{put_bytes, put_number};

/// What is known of a node or device from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastBirth {
    /// The node.
    pub edge: EdgeNode,
    /// The device; `None`: the node itself.
    pub device: Option<String>,
    /// Its birth without values, in Sparkplug's own format, as [`super::SparkplugNodes::restore`]
    /// takes it. `None`: it is dead.
    pub birth: Option<Vec<u8>>,
}

impl LastBirth {
    pub(super) fn new(edge: &EdgeNode, device: Option<&str>, birth: Option<Vec<u8>>) -> LastBirth {
        LastBirth { edge: edge.clone(), device: device.map(str::to_owned), birth }
    }
}

/// The number of a node's session.
pub(super) fn birth_seq(payload: &Payload<'_>) -> Option<u64> {
    let metric = payload.metrics.iter().find(|metric| metric.name == Some(BIRTH_SEQ))?;
    match metric.raw? {
        Raw::Int(value) => Some(u64::from(value)),
        Raw::Long(value) => Some(value),
        _ => None,
    }
}

/// Names, aliases and data types of a birth, and the number of its session.
pub(super) fn without_values(payload: &Payload<'_>) -> Vec<u8> {
    const LONG: u32 = 11;
    let (mut birth, mut kept) = (Vec::new(), Vec::new());
    for metric in &payload.metrics {
        let Some(name) = metric.name else { continue };
        kept.clear();
        put_bytes(1, name.as_bytes(), &mut kept);
        if let Some(alias) = metric.alias {
            put_number(2, alias, &mut kept);
        }
        if let Some(datatype) = metric.datatype {
            put_number(4, u64::from(datatype), &mut kept);
        }
        if let Some(number) = birth_seq(payload).filter(|_| name == BIRTH_SEQ) {
            put_number(LONG, number, &mut kept);
        }
        put_bytes(2, &kept, &mut birth);
    }
    birth
}
