//! The rest of a body that was refused early, read so that the client comes to read the answer.

use axum::{
    body::Body,
    extract::Request,
    http::{StatusCode, header},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::Semaphore;

/// A client that sends more than this is cut off after all.
const BYTES_MAX: usize = 32 << 20;
const TIME_MAX: Duration = Duration::from_secs(3);
/// The same of somebody who was not let in.
const STRANGER_BYTES_MAX: usize = 1 << 20;
const STRANGER_TIME_MAX: Duration = Duration::from_secs(1);
/// Bodies of such that are read at once, since a connection that is read holds more; of further ones
/// nothing is.
const STRANGERS_MAX: usize = 32;
static STRANGERS: Semaphore = Semaphore::const_new(STRANGERS_MAX);

/// Answers, and where the answer is an error reads what the handler left of the body.
pub(super) async fn rest(request: Request, next: Next) -> Response {
    // Who waits for leave to send has sent nothing.
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let kept = Kept(Arc::new(Mutex::new(body)));
    let answer = next.run(Request::from_parts(parts, Body::new(kept.clone()))).await;
    let status = answer.status();
    if (status.is_client_error() || status.is_server_error()) && !kept.is_end_stream() {
        // Whether all came or not, the answer goes out now.
        let (time_max, bytes_max, place) = match status {
            StatusCode::UNAUTHORIZED => {
                let Ok(place) = STRANGERS.try_acquire() else { return answer };
                (STRANGER_TIME_MAX, STRANGER_BYTES_MAX, Some(place))
            }
            _ => (TIME_MAX, BYTES_MAX, None),
        };
        let _ = tokio::time::timeout(time_max, drain(kept, bytes_max)).await;
        drop(place);
    }
    answer
}

async fn drain(mut body: Kept, bytes_max: usize) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > bytes_max {
            return;
        }
    }
}

/// A body that can still be had after its handler dropped it.
#[derive(Clone)]
struct Kept(Arc<Mutex<Body>>);

impl http_body::Body for Kept {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.0.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}
