//! How nodes speak with one another: frames over three connections for each direction.
//!
//! This part knows no sockets: what a frame is (`frame`), what two nodes tell each other first
//! (`hello`), which connection of a peer counts (`succession`), and how a node says no (`refusal`).

mod frame;
mod hello;
mod refusal;
mod succession;
#[cfg(test)]
mod tests;

pub use frame::{Channel, Decoder, Frame, FrameError, Kind, Received, Role};
pub use hello::{Agreed, Hello, HelloError, PREFACE, PROTOCOL_MAX, PROTOCOL_MIN};
pub use refusal::Refusal;
pub use succession::{Connection, Succession, Superseded};
