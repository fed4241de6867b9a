//! Rows of one batch that are refused, each with the first reason that was found.

use oribi_model::{Points, RejectReason, Rejection};
use std::{collections::BTreeMap, sync::Arc};

#[derive(Default)]
pub(crate) struct Rejects {
    rows: BTreeMap<usize, (RejectReason, Arc<str>)>,
    /// The detail of the row that was refused last, which is often that of the next one too.
    last: Option<Arc<str>>,
}

impl Rejects {
    pub(crate) fn add(
        &mut self,
        row: usize,
        reason: RejectReason,
        detail: impl FnOnce() -> String,
    ) {
        let last = &mut self.last;
        self.rows.entry(row).or_insert_with(|| {
            let detail = detail();
            match last {
                Some(known) if **known == *detail => (reason, known.clone()),
                _ => (reason, last.insert(detail.into()).clone()),
            }
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Which of `rows` rows stay.
    pub(crate) fn kept(&self, rows: usize) -> Vec<u32> {
        (0..rows).filter(|row| !self.rows.contains_key(row)).map(|row| row as u32).collect()
    }

    /// The refusals by the numbers that the decoder gave the rows.
    pub(crate) fn into_rejections(self, points: &Points) -> impl Iterator<Item = Rejection> {
        self.rows.into_iter().map(|(row, (reason, detail))| Rejection {
            origin: points.origins[row],
            reason,
            detail,
        })
    }
}
