//! Window questions about rows of other nodes: each makes figures of its own, which are merged where
//! it was asked.

use crate::{
    QueryEngine, QueryOptions, Question, Result, plan::Plan, question::WindowPlan, strategy,
    watch::Watch,
};
use axum::body::Bytes;
use oribi_model::{Answerer, ReadPath};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, thread};

const VERSION: u8 = 1;

/// A question as it goes to another node, as JSON. Another table there, or another version of it,
/// makes other figures.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u8,
    table: u32,
    schema: u32,
    now_ns: i64,
    question: Question,
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
    let form =
        Form { version: VERSION, table, schema, now_ns: *now_ns, question: question.clone() };
    let form = serde_json::to_vec(&form).expect("a question is plain data");
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
        let asked = form.question.plan(form.now_ns).map_err(|error| error.to_string())?;
        let of_same =
            |plan: &Plan| (plan.table.id.0, plan.table.schema.version) == (form.table, form.schema);
        let figures =
            self.figures_of(&*tablets, &asked, of_same).map_err(|error| error.to_string())?;
        figures.ok_or_else(|| "the table is another one here".to_owned())
    }
}
