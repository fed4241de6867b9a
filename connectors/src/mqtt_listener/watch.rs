//! Ends the connections of tokens that were taken back, changed, or are over.

use super::{common::Common, packets::reason};
use std::{sync::Arc, time::Duration};

/// Between two looks at whether any token has changed: what was revoked ends within a second.
const PAUSE: Duration = Duration::from_millis(200);

/// Watches until the listener ends.
pub(super) async fn run(common: Arc<Common>) {
    let mut seen = common.keeper.epoch();
    loop {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = common.shutdown.cancelled() => return,
        }
        let epoch = common.keeper.epoch();
        if epoch != seen {
            seen = epoch;
            common
                .sessions
                .end_where(reason::NOT_AUTHORIZED, &|access| !common.keeper.still(access));
        }
    }
}
