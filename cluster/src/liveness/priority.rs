//! Before whom the liveness thread gets a processor.

/// How the present thread gets a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Before whatever else the machine runs.
    First,
    /// Soon: it asks for little at a time.
    Soon,
    /// As others do.
    Equal,
}

/// Has the present thread, and none that it begins itself, get a processor as early as the process may
/// ask for: `First` takes `CAP_SYS_NICE` or a limit `RTPRIO` of 1, `Soon` Linux 6.12 or newer. It must
/// sleep nearly always.
#[cfg(target_os = "linux")]
pub(super) fn hurry() -> Turn {
    if linux::first() {
        return Turn::First;
    }
    if linux::soon() { Turn::Soon } else { Turn::Equal }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn hurry() -> Turn {
    Turn::Equal
}

#[cfg(target_os = "linux")]
mod linux {
    use libc::{SCHED_OTHER, SCHED_RESET_ON_FORK, SCHED_RR};

    /// The least that may be asked for, ns.
    const SLICE_NS: u64 = 100_000;
    const FLAG_RESET_ON_FORK: u64 = 1;

    pub(super) fn first() -> bool {
        let params = libc::sched_param { sched_priority: 1 };
        // SAFETY: 0 is the calling thread, and `params` is only read, during the call.
        unsafe {
            libc::sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &raw const params) == 0
        }
    }

    pub(super) fn soon() -> bool {
        // SAFETY: 0 is the calling thread; nothing is read or written.
        let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let wanted = libc::sched_attr {
            size: size_of::<libc::sched_attr>() as u32,
            sched_policy: SCHED_OTHER as u32,
            sched_flags: FLAG_RESET_ON_FORK,
            sched_nice: nice,
            sched_priority: 0,
            sched_runtime: SLICE_NS,
            sched_deadline: 0,
            sched_period: 0,
        };
        // SAFETY: 0 is the calling thread, and `wanted`, as long as it says, is only read, during the call.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wanted, 0) == 0 }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::thread;

    /// The policy of the present thread.
    fn policy() -> i32 {
        // SAFETY: 0 is the calling thread; nothing is read or written.
        unsafe { libc::sched_getscheduler(0) }
    }

    #[test]
    fn a_thread_goes_first_where_it_may_and_those_that_it_begins_do_not() {
        let before = policy();
        let raised = thread::spawn(|| (hurry(), policy(), thread::spawn(policy).join()));
        let (turn, own, begun) = raised.join().unwrap();
        let policy_of = match turn {
            Turn::First => libc::SCHED_RR | libc::SCHED_RESET_ON_FORK,
            Turn::Soon => libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK,
            Turn::Equal => before,
        };
        assert_eq!((own, begun.unwrap(), policy()), (policy_of, before, before));
    }

    #[test]
    fn asking_for_little_at_a_time_changes_nothing_else() {
        // SAFETY: 0 is the calling thread; nothing is read or written.
        let nice = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let before = nice();
        let (own, begun) = thread::spawn(move || {
            linux::soon();
            (nice(), thread::spawn(nice).join().unwrap())
        })
        .join()
        .unwrap();
        assert_eq!((own, begun), (before, before));
    }
}
