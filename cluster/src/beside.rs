//! Work on many rows, which must not hold up the tasks that share its thread.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Fewer rows take less time than handing the thread's other tasks over.
const ROWS_MIN: usize = 16_384;

/// Does `work`, on so many rows; the thread's other tasks go on elsewhere where there are many.
pub fn beside_others<T>(rows: usize, work: impl FnOnce() -> T) -> T {
    if rows >= ROWS_MIN { waiting(work) } else { work() }
}

/// Does `work`, which takes or waits long; the thread's other tasks go on elsewhere, where there
/// are threads for them.
pub(crate) fn waiting<T>(work: impl FnOnce() -> T) -> T {
    let runtime = Handle::try_current();
    match runtime.is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread) {
        true => tokio::task::block_in_place(work),
        false => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn other_tasks_of_the_thread_go_on_meanwhile() {
        let one_thread = || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.worker_threads(1).build().unwrap()
        };
        let runtime = one_thread();
        let (sender, receiver) = mpsc::channel();
        let work = async move {
            tokio::spawn(async move { sender.send(7) });
            beside_others(ROWS_MIN, move || receiver.recv())
        };
        let heard = runtime.block_on(async { tokio::spawn(work).await });
        assert_eq!(heard.unwrap(), Ok(7));
        assert_eq!(beside_others(ROWS_MIN, || 8), 8, "without a runtime");
    }

    #[tokio::test]
    async fn where_there_is_one_thread_it_is_done_here() {
        assert_eq!(beside_others(ROWS_MIN, || 9), 9);
    }
}
