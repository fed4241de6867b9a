//! Threads of queries, apart from those that serve everybody.

use crate::QueryOptions;
use std::sync::Arc;
use tokio::{
    runtime::Runtime,
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// Enough for plans as deep as the guard lets through.
const STACK_BYTES: usize = 32 << 20;

/// One pool for each kind of work, so that none waits for another that waits for it.
pub(crate) struct Pools {
    /// Folds window questions.
    windows: Option<Runtime>,
    /// Runs plans of SQL, reads their scans and writes their answers.
    sql: Option<Runtime>,
    /// Plans that are made at once.
    planning: Arc<Semaphore>,
}

impl Pools {
    /// # Panics
    /// If the system gives no threads.
    pub(crate) fn new(options: &QueryOptions) -> Pools {
        /// Scans read one block at a time, so that few threads serve many.
        const READING_THREADS_MAX: usize = 64;
        let threads = options.threads();
        let runtime = |name: &str, workers: usize, blocking: usize| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(workers)
                .max_blocking_threads(blocking)
                .thread_stack_size(STACK_BYTES)
                .thread_name(name)
                .on_thread_start(give_way)
                .enable_time()
                .build()
                .expect("the system gives threads at start")
        };
        // Those that were given up still end their block.
        let windows = 2 * options.running_max;
        let planning = options.running_max.min(2 * threads);
        // Those that write answers, the given up ones among them.
        let writing = 2 * options.running_max;
        let blocking = READING_THREADS_MAX + 2 * planning + writing;
        Pools {
            windows: Some(runtime("oribi-windows", 1, windows)),
            sql: Some(runtime("oribi-query", threads, blocking)),
            planning: Arc::new(Semaphore::new(planning)),
        }
    }

    /// Where window questions are answered.
    pub(crate) fn windows(&self) -> &Runtime {
        self.windows.as_ref().expect("pools live as long as the engine")
    }

    /// Where SQL is answered.
    pub(crate) fn sql(&self) -> &Runtime {
        self.sql.as_ref().expect("pools live as long as the engine")
    }

    /// Leave to make a plan, which ends with the permit.
    pub(crate) async fn planning(&self) -> Option<OwnedSemaphorePermit> {
        self.planning.clone().acquire_owned().await.ok()
    }
}

/// Has the calling thread give way to those that serve everybody, where cores are scarce. Threads that it
/// starts do so too.
fn give_way() {
    /// A core that is wanted by both goes to them for nine tenths of its time.
    #[cfg(target_os = "linux")]
    const NICE: i32 = 10;
    // Elsewhere this would be said of the process. A system that refuses shares the cores out equally.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, NICE);
}

impl Drop for Pools {
    fn drop(&mut self) {
        for runtime in [self.windows.take(), self.sql.take()].into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;

    #[test]
    fn questions_give_way_and_so_do_the_threads_that_they_start() {
        let own = getpriority_process(None).unwrap();
        let pools = Pools::new(&QueryOptions::default());
        let started = || {
            let here = getpriority_process(None).unwrap();
            let helper = std::thread::spawn(|| getpriority_process(None).unwrap());
            (here, helper.join().unwrap())
        };
        for runtime in [pools.windows(), pools.sql()] {
            let (here, helper) = runtime.block_on(runtime.spawn_blocking(started)).unwrap();
            assert!(here >= 10 && helper == here, "{here} {helper}");
        }
        assert_eq!(getpriority_process(None).unwrap(), own);
    }
}
