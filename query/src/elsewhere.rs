//! What another node is asked about tablets of it, as JSON.

use crate::Question;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 2;

/// A question as it travels.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form<A> {
    version: u8,
    asked: A,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum Elsewhere {
    /// Figures.
    Windows(Box<Folding>),
    /// Rows.
    Rows(Picking),
    /// Partial aggregates.
    Partials(Reducing),
}

/// A window question. Another table there, or another version of it, makes other figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Folding {
    pub(crate) table: u32,
    pub(crate) schema: u32,
    pub(crate) now_ns: i64,
    pub(crate) question: Question,
}

/// A statement that only picks rows. Another table there, or another version of it, has other rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Picking {
    pub(crate) table: u32,
    pub(crate) schema: u32,
    pub(crate) db: String,
    pub(crate) text: String,
}

/// One of the aggregates of a statement. Another table there, another version of it, or another plan
/// makes other ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reducing {
    /// Which program made the plan: partial aggregates of others may look otherwise.
    pub(crate) made_by: String,
    pub(crate) table: u32,
    pub(crate) schema: u32,
    pub(crate) db: String,
    pub(crate) text: String,
    pub(crate) now_ns: i64,
    /// Which of those that stand over rows of one table, in the order of the plan.
    pub(crate) number: usize,
    /// What the plan does.
    pub(crate) words: String,
}

impl Reducing {
    /// This program.
    pub(crate) fn maker() -> String {
        format!("{} {}", env!("CARGO_PKG_VERSION"), datafusion::DATAFUSION_VERSION)
    }
}

impl Elsewhere {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let form = Form { version: VERSION, asked: self };
        serde_json::to_vec(&form).expect("a question is plain data")
    }

    /// # Errors
    /// What is wrong, for whoever asked.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Elsewhere, String> {
        let form: Form<Elsewhere> =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match form.version {
            VERSION => Ok(form.asked),
            other => Err(format!("questions of version {other} are not known here")),
        }
    }
}
