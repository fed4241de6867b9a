//! Whether a checksum is believed to be wrong.
//!
//! Bytes that pass their checksum may still be ones that nobody wrote: another program's, or those
//! of a version with a fault. Readers must survive them, which only shows where checksums are not
//! looked at: in fuzzers always, in a test where it asks for it.

/// Whether bytes with the checksum `computed` are what `found` was computed of.
#[cfg(not(any(test, fuzzing)))]
pub(crate) fn agree(found: u32, computed: u32) -> bool {
    found == computed
}

#[cfg(fuzzing)]
pub(crate) fn agree(_: u32, _: u32) -> bool {
    true
}

#[cfg(all(test, not(fuzzing)))]
pub(crate) fn agree(found: u32, computed: u32) -> bool {
    found == computed || IGNORED.get()
}

#[cfg(all(test, not(fuzzing)))]
thread_local! {
    static IGNORED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `work` with checksums that are not looked at on this thread.
#[cfg(all(test, not(fuzzing)))]
pub(crate) fn ignored<T>(work: impl FnOnce() -> T) -> T {
    IGNORED.set(true);
    let outcome = work();
    IGNORED.set(false);
    outcome
}
