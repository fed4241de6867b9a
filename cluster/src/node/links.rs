//! The way from a node to the others: none until it is set.

use super::Node;
use crate::transport::{CallError, Network, Pending, Request};
use bytes::Bytes;
use oribi_model::NodeId;
use std::sync::{Arc, OnceLock};

/// A network that may come later.
#[derive(Default)]
pub(super) struct Links(OnceLock<Arc<dyn Network>>);

impl Links {
    /// Gives the way; the first that is given stays.
    pub(super) fn set(&self, network: Arc<dyn Network>) {
        if self.0.set(network).is_err() {
            tracing::error!("the way to other nodes was given before");
        }
    }
}

impl Node {
    /// Gives the node the way to the others. Said once.
    pub fn connect(&self, network: Arc<dyn Network>) {
        self.hosting.around.links.set(network);
    }
}

impl Network for Links {
    fn call(&self, to: NodeId, request: Request) -> Pending<Result<Bytes, CallError>> {
        match self.0.get() {
            Some(network) => network.call(to, request),
            None => Box::pin(std::future::ready(Err(CallError::NotConnected(to)))),
        }
    }

    fn notify(&self, to: NodeId, request: Request) -> Result<(), CallError> {
        match self.0.get() {
            Some(network) => network.notify(to, request),
            None => Err(CallError::NotConnected(to)),
        }
    }
}
