//! How nodes speak with one another: frames over three connections for each direction.
//!
//! What a frame is (`frame`), what two nodes tell each other first (`hello`), which connection of a
//! peer counts (`succession`) and how a node says no (`refusal`) know no sockets. `network` is the
//! seam to what uses all this; `tcp` is the one that goes over sockets, with `newcomers`, `greeting`,
//! `pump` and `calls` beneath it.

mod calls;
mod frame;
mod greeting;
mod hello;
mod network;
mod newcomers;
mod pump;
mod refusal;
mod succession;
mod tcp;
#[cfg(test)]
mod tests;

pub use frame::{Channel, Decoder, Frame, FrameError, Kind, Received, Role};
pub use greeting::{GreetingError, answer, ask};
pub use hello::{Agreed, Hello, HelloError, PREFACE, PROTOCOL_MAX, PROTOCOL_MIN};
pub use network::{Asker, CallError, Network, Pending, Request, Service, Side};
pub use refusal::Refusal;
pub use succession::{Connection, Succession, Superseded};
pub use tcp::Tcp;
