//! Window questions about rows of other nodes: each makes figures of its own, which are merged where
//! it was asked.

use crate::{
    QueryEngine, QueryOptions, Result,
    elsewhere::{Elsewhere, Folding},
    plan::Plan,
    question::WindowPlan,
    strategy,
    watch::Watch,
};
use axum::body::Bytes;
use oribi_model::{Answerer, Place, ReadPath, TabletId};
use std::{collections::BTreeSet, sync::Arc, thread};

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
    let form = Elsewhere::Windows(Box::new(Folding { table, schema, now_ns, question })).encode();
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
    // A tablet that moved meanwhile may be in two figures, or in none.
    let is_same = tablets_of(&read.places(plan.table.id, plan.range)) == tablets_of(&places);
    Ok(is_same.then_some(parts))
}

/// The tablets of places.
pub(crate) fn tablets_of(places: &[Place]) -> BTreeSet<TabletId> {
    places.iter().flat_map(|place| place.tablets.iter().copied()).collect()
}

impl Answerer for QueryEngine {
    fn answer(&self, question: &[u8], tablets: Arc<dyn ReadPath>) -> Result<Vec<u8>, String> {
        let answer = match Elsewhere::decode(question)? {
            Elsewhere::Windows(folding) => {
                let Folding { table, schema, now_ns, question } = *folding;
                let asked = question.plan(now_ns).map_err(|error| error.to_string())?;
                let of_same =
                    |plan: &Plan| (plan.table.id.0, plan.table.schema.version) == (table, schema);
                self.figures_of(&*tablets, &asked, of_same)
            }
            Elsewhere::Rows(picking) => self.picked(&tablets, &picking),
            Elsewhere::Partials(reducing) => self.reduced(tablets, reducing),
        };
        let answer = answer.map_err(|error| error.to_string())?;
        answer.ok_or_else(|| "the table is another one here".to_owned())
    }
}
