//! The process itself.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Files, sockets included, that a node may need at once.
const FILES_WANTED: u64 = 65_536;

/// Memory held, files that are mapped included, bytes; `None` where the system does not tell.
pub(crate) fn resident_bytes() -> Option<u64> {
    Some(Held::now()?.resident_bytes)
}

/// Memory held that is not of a file, bytes; `None` where the system does not tell.
pub(crate) fn allocated_bytes() -> Option<u64> {
    let held = Held::now()?;
    Some(held.resident_bytes.saturating_sub(held.of_files_bytes))
}

/// What `/proc/self/statm` says: it is cheaper than `status`, and is asked many times a second.
struct Held {
    resident_bytes: u64,
    of_files_bytes: u64,
}

impl Held {
    fn now() -> Option<Held> {
        let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
        let mut pages = pages.split_ascii_whitespace().skip(1).map(|pages| pages.parse::<u64>());
        let page_bytes = u64::try_from(rustix::param::page_size()).ok()?;
        let mut next = || Some(pages.next()?.ok()? * page_bytes);
        Some(Held { resident_bytes: next()?, of_files_bytes: next()? })
    }
}

/// Has the allocators give what was freed back to the system at once; that of this program does so by itself
/// after a second, that of C, which librdkafka uses, may never do. Takes some milliseconds where there is much.
pub(crate) fn give_back_freed() {
    unsafe extern "C" {
        fn mi_collect(force: bool);
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        fn malloc_trim(kept_bytes: usize) -> i32;
    }
    // SAFETY: it is a function of the allocator that this binary has, which any thread may call at any time.
    unsafe { mi_collect(true) };
    // SAFETY: as of glibc's own.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        malloc_trim(0)
    };
}

/// Lets the process open as many files as the system allows, up to what a node may need, and gives
/// how many that are.
pub(crate) fn raise_file_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.unwrap_or(u64::MAX).min(FILES_WANTED);
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= allowed {
        return current;
    }
    limit.current = Some(allowed);
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => allowed,
        Err(error) => {
            tracing::warn!(%error, allowed, "cannot raise the limit of open files");
            current
        }
    }
}
