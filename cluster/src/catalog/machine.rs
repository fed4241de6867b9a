//! The catalog as the state machine of group 0.
