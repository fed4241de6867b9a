//! The thin layer over librdkafka: its configuration, and the calls that the safe crate lacks.

pub(crate) mod config;
pub(crate) mod native;
pub(crate) mod tokens;
