//! The seam between those who ask about rows of other nodes and those who bring the question there.

use crate::{ReadPath, TabletId, id::NodeId};
use std::sync::Arc;

/// Tablets that one other node is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The node.
    pub node: NodeId,
    /// The tablets; never empty.
    pub tablets: Vec<TabletId>,
}

/// Answers what other nodes ask about tablets that are here. What the bytes mean, only those know
/// who ask and answer.
pub trait Answerer: Send + Sync + 'static {
    /// The answer from the rows of `tablets`, which shows no others. Blocks.
    ///
    /// # Errors
    /// Why there is none. Whoever asks reads the rows instead.
    fn answer(
        &self,
        question: &[u8],
        tablets: Arc<dyn ReadPath>,
    ) -> std::result::Result<Vec<u8>, String>;
}
