//! Who may do what: tokens, what they may reach, and the read path as they see it.
//!
//! Pure but for random bytes: no files, sockets, tasks or clock.

mod access;
mod certificate;
mod credentials;
mod glob;
mod reading;
mod rights;
mod secret;
mod token;
mod topics;

pub use access::{
    Access, Deed, Denied, Doorkeeper, LastDenied, Needs, OpenDoor, Passport, Usage, admit,
};
pub use certificate::{Certificate, ShownCertificate};
pub use credentials::{BadCredentials, Given, Presented, from_header, from_parameter};
pub use glob::Glob;
pub use reading::reading;
pub use rights::{CLIENTS_MAX, GRANTS_MAX, Grant, May, Rights, TOPICS_MAX};
pub use secret::{BadSecret, Digest, SECRET_CHARS, Secret};
pub use token::{ADMIN_FILE, ANONYMOUS, NOTE_BYTES_MAX, Previous, Token, check_name};
pub use topics::{TopicRules, check_filter};
