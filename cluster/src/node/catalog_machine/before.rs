//! Catalogs as they were before something was dropped.

use crate::Catalog;
use oribi_model::LogIndex;
use std::{collections::BTreeMap, sync::Arc};

/// How many are kept: whoever drops asks for its own soon.
const KEPT_MAX: usize = 16;

/// The newest ones, by the entry that dropped something.
#[derive(Debug, Default)]
pub(super) struct BeforeDrops(BTreeMap<LogIndex, Arc<Catalog>>);

impl BeforeDrops {
    pub(super) fn keep(&mut self, index: LogIndex, catalog: Arc<Catalog>) {
        self.0.insert(index, catalog);
        if self.0.len() > KEPT_MAX {
            self.0.pop_first();
        }
    }

    pub(super) fn get(&self, index: LogIndex) -> Option<Arc<Catalog>> {
        self.0.get(&index).cloned()
    }
}
