//! Runs one connector, again and again.

use super::entry::Origin;
use crate::{
    Error, Result,
    connector::{RunContext, State},
    spec::{ConnectorSpec, files},
};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A connector that ran for so long begins with the shortest pause again.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

pub(super) async fn end(stop: CancellationToken, task: JoinHandle<()>) {
    stop.cancel();
    if let Err(wrong) = task.await {
        tracing::error!(%wrong, "a connector ended abnormally");
    }
}

/// Runs a connector, and again whenever it fails, until it is told to stop.
pub(super) async fn supervise(spec: Arc<ConnectorSpec>, origin: Origin, context: RunContext) {
    let mut backoff = BACKOFF_MIN;
    while !context.stop.is_cancelled() {
        context.progress.enter(State::Starting);
        let started = tokio::time::Instant::now();
        let Err(wrong) = run_once(spec.clone(), origin, context.clone()).await else { continue };
        if context.stop.is_cancelled() {
            return;
        }
        if started.elapsed() > HEALTHY_AFTER {
            backoff = BACKOFF_MIN;
        }
        context.progress.failed(&wrong.to_string());
        context.progress.enter(State::Retrying);
        let pause = jittered(backoff);
        let pause_ms = pause.as_millis() as u64;
        tracing::warn!(connector = %context.name, %wrong, pause_ms, "a connector failed");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = context.stop.cancelled() => return,
        }
        context.progress.restarted();
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Runs a connector until it ends. That it panics is a failure like others.
async fn run_once(spec: Arc<ConnectorSpec>, origin: Origin, context: RunContext) -> Result<()> {
    if origin == Origin::Http {
        // What lies in the folder may have changed.
        files::check(&spec, &context.parts.files, "connector")?;
    }
    let target = spec.common.url.clone();
    let run = tokio::spawn(async move { spec.run(&context).await });
    run.await.unwrap_or_else(|wrong| {
        Err(Error::Broker { action: "work with", target, reason: panic_text(wrong) })
    })
}

fn panic_text(wrong: tokio::task::JoinError) -> String {
    let said = wrong.try_into_panic().ok().and_then(|said| {
        let text = said.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| said.downcast_ref::<String>().cloned())
    });
    format!("the connector panicked: {}", said.unwrap_or_default())
}

/// Somewhere between three quarters of a pause and all of it, so that connectors that failed
/// together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let share = f64::from(now.unwrap_or_default().subsec_micros() % 1_000) / 1_000.0;
    pause.mul_f64(0.75 + share / 4.0)
}
