//! What nodes hold for a backup is held on while the backup is busy with other nodes, or with the vault.

use super::source::Source;
use std::{
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

/// A small part of the 5 minutes after which a node lets go of what nobody asks for.
const PAUSE: Duration = Duration::from_secs(60);

/// Does the work of a backup.
pub(super) fn renewed<T>(source: &Source, work: impl FnOnce() -> T) -> T {
    renewed_after(PAUSE, || source.renew(), work)
}

fn renewed_after<T>(pause: Duration, renew: impl Fn() + Send, work: impl FnOnce() -> T) -> T {
    let (working, over) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while over.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                renew();
            }
        });
        let done = work();
        drop(working);
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_asked_for_again_and_again_until_the_work_is_done() {
        let (renewed, seen) = mpsc::channel();
        let renew = move || renewed.send(()).unwrap_or_default();
        let work = || {
            (0..3).for_each(|_| seen.recv().unwrap());
            "done"
        };
        assert_eq!(renewed_after(Duration::from_millis(1), renew, work), "done");
        assert!(seen.iter().count() < 1_000);
    }
}
