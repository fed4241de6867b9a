//! Window questions about rows of other nodes: each makes figures of its own, which are merged where
//! it was asked.

use crate::{
    QueryEngine, QueryOptions, Question, Result, plan::Plan, question::WindowPlan,
    sql::picked::Picking, strategy, watch::Watch,
};
use axum::body::Bytes;
use oribi_model::{Answerer, ReadPath};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, thread};

const VERSION: u8 = 2;

/// A question as it goes to another node, as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u8,
    asked: Elsewhere,
}

/// What another node is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Elsewhere {
    /// Figures. Another table there, or another version of it, makes other ones.
    Windows { table: u32, schema: u32, now_ns: i64, question: Question },
    /// Rows.
    Rows(Picking),
}

impl Form {
    fn encode(asked: Elsewhere) -> Vec<u8> {
        let form = Form { version: VERSION, asked };
        serde_json::to_vec(&form).expect("a question is plain data")
    }
}

/// A statement that picks rows, for another node.
pub(crate) fn picking(picking: &Picking) -> Vec<u8> {
    Form::encode(Elsewhere::Rows(picking.clone()))
}

/// The figures of all places that have rows of a table, this one among them. `None`: all of them
/// can be read by way of `read`, or have to be.
pub(crate) fn figures(
    read: &dyn ReadPath,
    asked: &WindowPlan,
    plan: &Plan,
    options: &QueryOptions,
    watch: &Arc<Watch>,
) -> Result<Option<Vec<Bytes>>> {
    let places = read.places(plan.table.id, plan.range);
    let (Some(here), Some(asked)) = (read.without_places(), &asked.asked) else { return Ok(None) };
    if places.is_empty() {
        return Ok(None);
    }
    let (question, now_ns) = &**asked;
    let (table, schema) = (plan.table.id.0, plan.table.schema.version);
    let (now_ns, question) = (*now_ns, question.clone());
    let form = Form::encode(Elsewhere::Windows { table, schema, now_ns, question });
    let (own, others) = thread::scope(|scope| {
        let form = &form;
        let ask = |place| scope.spawn(move || read.ask(place, form));
        let asks: Vec<_> = places.iter().map(ask).collect();
        let own = strategy::figures(&*here, plan, options, watch);
        (own, asks.into_iter().map(|ask| ask.join()).collect::<Vec<_>>())
    });
    let mut parts = vec![Bytes::from(own?)];
    for other in others {
        match other {
            Ok(Ok(part)) => parts.push(part.into()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "rows of another node are read one by one");
                return Ok(None);
            }
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(parts))
}

impl Answerer for QueryEngine {
    fn answer(&self, question: &[u8], tablets: Arc<dyn ReadPath>) -> Result<Vec<u8>, String> {
        let form: Form = serde_json::from_slice(question).map_err(|error| error.to_string())?;
        if form.version != VERSION {
            return Err(format!("questions of version {} are not known here", form.version));
        }
        let answer = match form.asked {
            Elsewhere::Windows { table, schema, now_ns, question } => {
                let asked = question.plan(now_ns).map_err(|error| error.to_string())?;
                let of_same =
                    |plan: &Plan| (plan.table.id.0, plan.table.schema.version) == (table, schema);
                self.figures_of(&*tablets, &asked, of_same)
            }
            Elsewhere::Rows(picking) => self.picked(&tablets, &picking),
        };
        let answer = answer.map_err(|error| error.to_string())?;
        answer.ok_or_else(|| "the table is another one here".to_owned())
    }
}
