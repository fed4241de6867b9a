//! Takes messages into a batch.

use super::{
    batch::{Batch, Origin},
    routes::CompiledRoutes,
};
use crate::{Error, Result, registry::SchemaRegistry, sparkplug_store::EdgeNodes};
use oribi_decode::{Message, MessageDecoder, sparkplug::EdgeNode};
use oribi_model::ArrivalClock;
use std::sync::Arc;

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
    pub(crate) async fn fetch(self) -> Result<()> {
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
        let first_row = batch.rows.next_origin;
        let decoded = self.decoder.decode(&mut batch.rows, message, now_ns);
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
    }
}
