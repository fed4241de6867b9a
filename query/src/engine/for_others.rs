//! What other nodes ask an engine about rows that are here.

use super::{QueryEngine, Shared, stopped};
use crate::{
    Result,
    elsewhere::{Picking, Reducing},
    plan::{self, Plan},
    question::WindowPlan,
    sql::{self, Said, Shortcut},
    strategy,
};
use oribi_model::ReadPath;
use std::sync::Arc;

impl QueryEngine {
    /// As [`QueryEngine::figures`], of what `read` shows, where the bound plan is one that will do.
    /// Blocks.
    pub(crate) fn figures_of(
        &self,
        read: &dyn ReadPath,
        asked: &WindowPlan,
        will_do: impl FnOnce(&Plan) -> bool,
    ) -> Result<Option<Vec<u8>>> {
        let Shared { options, filters, pools, places_for_others, .. } = &*self.shared;
        let (watch, _place) = pools.windows().handle().block_on(self.admit(places_for_others))?;
        let plan = plan::bind(asked, read, filters, options)?;
        if !will_do(&plan) {
            return Ok(None);
        }
        strategy::figures(read, &plan, options, &watch).map(Some)
    }

    /// The rows that a statement picks of what `read` shows, as they travel; `None` where the table is
    /// another one. Blocks.
    pub(crate) fn picked(
        &self,
        read: &Arc<dyn ReadPath>,
        picking: &Picking,
    ) -> Result<Option<Vec<u8>>> {
        let Shared { options, filters, pools, places_for_others, .. } = &*self.shared;
        let runtime = pools.windows().handle();
        let (watch, _place) = runtime.block_on(self.admit(places_for_others))?;
        let (db, text) = (Some(picking.db.clone()), picking.text.clone());
        let said = Said { db, text, now_ns: self.shared.clock.now_ns() };
        let plan = sql::plan(read, options, filters, &said, Shortcut::Try, &watch);
        runtime.block_on(plan)?.picked(picking, read.as_ref(), options, &watch)
    }

    /// What a statement aggregates of what `read` shows, as it travels; `None` where it would not do here.
    /// Blocks.
    pub(crate) fn reduced(
        &self,
        read: Arc<dyn ReadPath>,
        reducing: Reducing,
    ) -> Result<Option<Vec<u8>>> {
        if reducing.made_by != Reducing::maker() {
            return Ok(None);
        }
        let runtime = self.shared.pools.sql().handle();
        let shared = self.shared.clone();
        let (watch, place) = runtime.block_on(self.admit(&shared.places_for_others))?;
        // Threads of that pool have room for deep plans.
        let reduce = move || {
            let _place = place;
            let Shared { options, filters, .. } = &*shared;
            let (db, text) = (Some(reducing.db.clone()), reducing.text.clone());
            let said = Said { db, text, now_ns: reducing.now_ns };
            let plan = sql::plan(&read, options, filters, &said, Shortcut::Leave, &watch);
            let runtime = tokio::runtime::Handle::current();
            runtime.block_on(async { plan.await?.reduced(&reducing, &watch).await })
        };
        runtime.block_on(runtime.spawn_blocking(reduce)).map_err(stopped)?
    }
}
