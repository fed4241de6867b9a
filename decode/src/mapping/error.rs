//! What can be wrong with a route.

/// A member of a route that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the configuration: {key}: {reason}")]
pub struct RouteError {
    /// Which member, as the configuration calls it.
    pub key: String,
    /// What is wrong and what was expected.
    pub reason: String,
}
