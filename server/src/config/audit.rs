//! What is kept of the audit log, `[audit]` in the configuration file.

use serde::Deserialize;

/// Bounds of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuditOptions {
    /// Bytes of a file.
    pub(crate) bytes_max: u64,
    /// Files that are kept, the one that is written to included.
    pub(crate) files_max: u32,
}

impl Default for AuditOptions {
    fn default() -> AuditOptions {
        AuditOptions { bytes_max: 64 << 20, files_max: 8 }
    }
}

impl AuditOptions {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// Names the key and what was expected.
    pub(crate) fn validate(&self) -> Result<(), String> {
        const BYTES_MIN: u64 = 1 << 20;
        const FILES_MAX: u32 = 1_000;
        if self.bytes_max < BYTES_MIN {
            return Err(format!("bytes_max is {}; expected at least {BYTES_MIN}", self.bytes_max));
        }
        if !(1..=FILES_MAX).contains(&self.files_max) {
            return Err(format!("files_max is {}; expected 1 to {FILES_MAX}", self.files_max));
        }
        Ok(())
    }
}
