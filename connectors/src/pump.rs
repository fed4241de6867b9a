//! Messages on their way to the write path: decoded into a batch, written until stored, and what
//! cannot be stored kept as dead letters.

mod batch;
mod held;
mod intake;
mod routes;
mod store;
mod waiting;
mod write;

pub(crate) use batch::{Batch, Origin, head_of};
pub(crate) use held::Held;
pub(crate) use intake::{DeniedTable, Intake, Wanted};
pub(crate) use routes::CompiledRoutes;
pub(crate) use store::Stored;
pub(crate) use write::BatchWriter;
