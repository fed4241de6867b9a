//! What log entries carry: rows or a delete for a tablet, a change for the catalog.

use crate::{Change, beside::beside_others};
use bytes::Bytes;
use oribi_model::{RowBatch, TagPredicate, TimeRange};
use oribi_store::codec;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

const ROWS: u8 = 1;
const DELETE: u8 = 2;
const CHANGE: u8 = 3;

/// One command with the form in which it is logged. Clones share memory.
#[derive(Clone)]
pub(crate) struct Command {
    body: Body,
    /// `kind: u8`, then the form of that kind.
    encoded: Bytes,
}

/// What a state machine sees of a command.
#[derive(Clone)]
pub(crate) enum Body {
    Rows(Arc<RowBatch>),
    Delete(Delete),
    Change(Arc<Change>),
}

/// Hides the matching rows of lower log index.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Delete {
    pub(crate) time: TimeRange,
    pub(crate) tags: TagPredicate,
}

impl Command {
    pub(crate) fn rows(batch: RowBatch) -> Command {
        let mut bytes = vec![ROWS];
        beside_others(batch.rows(), || codec::encode_batch(&batch, &mut bytes));
        Command { body: Body::Rows(Arc::new(batch)), encoded: bytes.into() }
    }

    pub(crate) fn delete(time: TimeRange, tags: TagPredicate) -> Command {
        let delete = Delete { time, tags };
        let encoded = encode_json(DELETE, &delete);
        Command { body: Body::Delete(delete), encoded }
    }

    pub(crate) fn change(change: Change) -> Command {
        let encoded = encode_json(CHANGE, &change);
        Command { body: Body::Change(Arc::new(change)), encoded }
    }

    pub(crate) fn body(&self) -> &Body {
        &self.body
    }

    /// The rows that it carries.
    pub(crate) fn row_count(&self) -> usize {
        if let Body::Rows(batch) = &self.body { batch.rows() } else { 0 }
    }

    pub(crate) fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// Reads what [`Command::encoded`] gave.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Command, String> {
        Command::decode_shared(Bytes::copy_from_slice(bytes))
    }

    /// As [`Command::decode`]; the command keeps these bytes themselves.
    pub(crate) fn decode_shared(encoded: Bytes) -> Result<Command, String> {
        let (kind, rest) = encoded.split_first().ok_or("a command without a kind")?;
        let body = match *kind {
            ROWS => Body::Rows(Arc::new(codec::decode_batch(rest)?)),
            DELETE => Body::Delete(decode_json(rest)?),
            CHANGE => Body::Change(Arc::new(decode_json(rest)?)),
            kind => return Err(format!("a command of the unknown kind {kind}")),
        };
        Ok(Command { body, encoded })
    }
}

fn encode_json(kind: u8, form: &impl Serialize) -> Bytes {
    let mut bytes = vec![kind];
    serde_json::to_writer(&mut bytes, form).expect("a command is plain data");
    bytes.into()
}

fn decode_json<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.body {
            Body::Rows(batch) => write!(f, "{} rows", batch.rows()),
            Body::Delete(_) => f.write_str("a delete"),
            Body::Change(change) => write!(f, "{change:?}"),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
