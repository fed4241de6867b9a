//! Who asks: tokens of the catalog, and the one in the node's own file.

mod admin_file;
mod keyring;

pub(crate) use admin_file::{AdminFile, write_new};
pub(crate) use keyring::Keyring;
