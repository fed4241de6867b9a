//! What there is at a moment, for whoever judges it.

use super::{clients::Ledger, hall::Hall, host::Host};
use crate::CopyOptions;
use oribi_model::NodeId;
use std::{collections::BTreeMap, sync::Arc};

pub(super) struct Scene {
    pub(super) hall: Arc<Hall>,
    pub(super) hosts: BTreeMap<NodeId, Host>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) copies: CopyOptions,
}
