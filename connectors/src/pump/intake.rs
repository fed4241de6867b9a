//! Takes messages into a batch.

use super::{
    batch::{Batch, Origin},
    routes::CompiledRoutes,
};
use crate::{Error, registry::SchemaRegistry, sparkplug_store::EdgeNodes};
use oribi_access::{Access, May};
use oribi_decode::{Message, MessageDecoder, sparkplug::EdgeNode};
use oribi_model::ArrivalClock;
use std::sync::Arc;

/// A table that who sent a message may not write to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DeniedTable(pub(crate) String);

/// Decodes the messages of a source into its batches.
pub(crate) struct Intake {
    decoder: MessageDecoder,
    registry: Option<Arc<SchemaRegistry>>,
    nodes: Arc<EdgeNodes>,
    rebirths: Vec<EdgeNode>,
}

/// A schema that has to be fetched before a message can be read.
pub(crate) struct Wanted {
    registry: Arc<SchemaRegistry>,
    id: u32,
}

impl Wanted {
    /// Fetches it; that there is none is remembered, and is the message's trouble.
    ///
    /// # Errors
    /// [`Error::Broker`]: the registry does not answer.
    pub(crate) async fn fetch(self) -> crate::Result<()> {
        match self.registry.fetch(self.id).await {
            Err(wrong) if wrong.is_retryable() => Err(Error::Broker {
                action: "read",
                target: format!("schema {}", self.id),
                reason: wrong.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

impl Intake {
    /// An intake that knows what `nodes` know of Sparkplug's edge nodes.
    pub(crate) fn new(
        routes: CompiledRoutes,
        nodes: Arc<EdgeNodes>,
        arrival: ArrivalClock,
        ahead_ns_max: i64,
    ) -> Intake {
        let CompiledRoutes { routes, registry } = routes;
        let decoder = MessageDecoder::new(routes, nodes.shared().clone(), arrival, ahead_ns_max);
        Intake { decoder, registry, nodes, rebirths: Vec::new() }
    }

    /// What has to be fetched before [`Intake::add`] can read the message.
    pub(crate) fn wanted(&mut self, message: &Message<'_>) -> Option<Wanted> {
        let registry = self.registry.as_ref()?;
        let id = self.decoder.wanted(message)?;
        Some(Wanted { registry: registry.clone(), id })
    }

    /// Sparkplug's edge nodes that have to be asked for their births.
    pub(crate) fn take_rebirths(&mut self) -> Vec<EdgeNode> {
        std::mem::take(&mut self.rebirths)
    }

    /// Decodes a message into the batch; what cannot be decoded is marked there.
    #[inline]
    pub(crate) fn add(
        &mut self,
        batch: &mut Batch,
        message: &Message<'_>,
        origin: &Origin<'_>,
        now_ns: i64,
    ) {
        // What is not limited is not denied.
        let _ = self.add_as(&Access::Open, batch, message, origin, now_ns);
    }

    /// As [`Intake::add`], for who asks: of a message with a row for a table that may not be written
    /// to, nothing is kept, not even as a dead letter.
    ///
    /// # Errors
    /// The table.
    #[inline]
    pub(crate) fn add_as(
        &mut self,
        access: &Access,
        batch: &mut Batch,
        message: &Message<'_>,
        origin: &Origin<'_>,
        now_ns: i64,
    ) -> Result<(), DeniedTable> {
        let first_row = batch.rows.next_origin;
        let decoded = self.decoder.decode(&mut batch.rows, message, now_ns);
        if !access.is_unlimited()
            && let Some(denied) = self.denied(access, batch, message, first_row, decoded.is_err())
        {
            drop(self.decoder.take_news());
            batch.deny(first_row);
            return Err(denied);
        }
        batch.keep(message, message.payload.len() as u64, origin, first_row);
        if let Some(news) = self.decoder.take_news() {
            if let Some(source) = self.nodes.source() {
                batch.births.push(source, &news.births, now_ns, first_row);
            }
            self.rebirths.extend(news.rebirth);
        }
        if let Err(fault) = decoded {
            batch.fail(fault);
        }
        Ok(())
    }

    /// The first table of a message that may not be written to. One that cannot be read is taken for
    /// what its topic leads to.
    fn denied(
        &mut self,
        access: &Access,
        batch: &Batch,
        message: &Message<'_>,
        first_row: u32,
        is_faulty: bool,
    ) -> Option<DeniedTable> {
        let found = batch
            .rows
            .tables
            .since(first_row)
            .find(|(db, table)| !access.may(May::Write, db, table));
        if let Some((db, table)) = found {
            return Some(DeniedTable(format!("{db}/{table}")));
        }
        let target = is_faulty.then(|| self.decoder.target(message.topic)).flatten();
        match target? {
            (db, Some(table)) if !access.may(May::Write, db, table) => {
                Some(DeniedTable(format!("{db}/{table}")))
            }
            (db, None) if !access.may_write_in(Some(db)) => Some(DeniedTable(db.to_string())),
            _ => None,
        }
    }
}
