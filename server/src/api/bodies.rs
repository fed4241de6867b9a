//! A bound on the bodies of writes that are in progress, over all connections.

use super::problem;
use axum::{
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

/// A compressed byte stands for so many in memory.
const COMPRESSED_WEIGHT: usize = 8;

/// Bytes of bodies in progress. Clones share the count.
#[derive(Debug, Clone)]
pub(crate) struct Bodies {
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl Bodies {
    /// No bodies yet, and at most `bytes_max` at a time.
    pub(crate) fn new(bytes_max: usize) -> Bodies {
        Bodies { bytes: Arc::default(), bytes_max }
    }

    fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.bytes_max
    }
}

/// Lets a write through while there is room for its body, and answers 503 once there is not.
pub(super) async fn bound(State(bodies): State<Bodies>, request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let refuse = || {
        let detail = format!(
            "more than {} bytes of writes are in progress (http.inflight_bytes_max); try again",
            bodies.bytes_max
        );
        problem::refuse(&uri, StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    };
    if bodies.is_full() {
        return refuse();
    }
    let is_compressed = request.headers().contains_key(header::CONTENT_ENCODING);
    let share = Arc::new(Share {
        bodies: bodies.clone(),
        weight: if is_compressed { COMPRESSED_WEIGHT } else { 1 },
        bytes: AtomicUsize::new(0),
        cut: AtomicBool::new(false),
    });
    let request = request.map(|body| Body::new(Counted { body, share: share.clone() }));
    let answer = next.run(request).await;
    // The handler saw a body that broke off, which is not the client's fault.
    if share.cut.load(Ordering::Relaxed) { refuse() } else { answer }
}

/// One request's share of the bound, given back when its answer is ready.
struct Share {
    bodies: Bodies,
    weight: usize,
    bytes: AtomicUsize,
    cut: AtomicBool,
}

impl Share {
    /// Counts bytes that arrived; `false`, once, where reading on would take too much. One that is
    /// alone may always go on.
    fn take(&self, bytes: usize) -> bool {
        if self.cut.load(Ordering::Relaxed) {
            // What is still read is thrown away.
            return true;
        }
        let bytes = bytes * self.weight;
        let own = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let all = self.bodies.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let is_over = all >= self.bodies.bytes_max && all > own;
        self.cut.store(is_over, Ordering::Relaxed);
        !is_over
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.bodies.bytes.fetch_sub(self.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

struct Counted {
    body: Body,
    share: Arc<Share>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let Some(Ok(frame)) = frame else {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        };
        if !self.share.take(frame.data_ref().map_or(0, Bytes::len)) {
            let full = io::Error::other("too many writes are in progress");
            return Poll::Ready(Some(Err(full.into())));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
