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
use futures::{FutureExt, future::BoxFuture};
use http_body::{Frame, SizeHint};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::sync::Notify;

/// A compressed byte stands for so many in memory.
const COMPRESSED_WEIGHT: usize = 8;

/// Bytes of bodies in progress. Clones share the count.
#[derive(Debug, Clone)]
pub(crate) struct Bodies(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes: AtomicUsize,
    bytes_max: usize,
    wait_max: Duration,
    freed: Notify,
}

impl Bodies {
    /// No bodies yet, and at most `bytes_max` at a time; past it others wait up to `wait_max`.
    pub(crate) fn new(bytes_max: usize, wait_max: Duration) -> Bodies {
        Bodies(Arc::new(Shared {
            bytes: AtomicUsize::new(0),
            bytes_max,
            wait_max,
            freed: Notify::new(),
        }))
    }

    /// A share of so many bytes, as of a request that is in progress.
    #[cfg(test)]
    pub(super) fn hold(&self, bytes: usize) -> impl Drop {
        let share = Share::new(self, 1);
        share.take(bytes);
        share
    }

    /// Waits until others leave room beside `own` bytes; `false` where they did not in time. One
    /// that is alone never waits.
    async fn room(self, own: usize) -> bool {
        let freed = async {
            loop {
                let freed = self.0.freed.notified();
                let all = self.0.bytes.load(Ordering::Relaxed);
                if all < self.0.bytes_max || all <= own {
                    return;
                }
                freed.await;
            }
        };
        tokio::time::timeout(self.0.wait_max, freed).await.is_ok()
    }
}

/// Lets a write through while there is room for its body; past a bounded wait it is a 503.
pub(super) async fn bound(State(bodies): State<Bodies>, request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let refuse = || {
        let detail = format!(
            "more than {} bytes of writes are in progress (http.inflight_bytes_max); try again",
            bodies.0.bytes_max
        );
        problem::refuse(&uri, StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    };
    if !bodies.clone().room(0).await {
        return refuse();
    }
    let is_compressed = request.headers().contains_key(header::CONTENT_ENCODING);
    let weight = if is_compressed { COMPRESSED_WEIGHT } else { 1 };
    let share = Arc::new(Share::new(&bodies, weight));
    let request = request.map(|body| Body::new(Counted { body, share: share.clone(), wait: None }));
    let answer = next.run(request).await;
    // The handler saw a body that broke off, which is not the client's fault.
    if share.is_cut.load(Ordering::Relaxed) { refuse() } else { answer }
}

/// One request's share of the bound, given back when its answer is ready.
struct Share {
    bodies: Bodies,
    weight: usize,
    bytes: AtomicUsize,
    is_cut: AtomicBool,
}

impl Share {
    fn new(bodies: &Bodies, weight: usize) -> Share {
        let (bytes, is_cut) = (AtomicUsize::new(0), AtomicBool::new(false));
        Share { bodies: bodies.clone(), weight, bytes, is_cut }
    }

    fn take(&self, bytes: usize) {
        self.bytes.fetch_add(bytes * self.weight, Ordering::Relaxed);
        self.bodies.0.bytes.fetch_add(bytes * self.weight, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        let all = self.bodies.0.bytes.load(Ordering::Relaxed);
        all >= self.bodies.0.bytes_max && all > self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.bodies.0.bytes.fetch_sub(self.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        self.bodies.0.freed.notify_waiters();
    }
}

struct Counted {
    body: Body,
    share: Arc<Share>,
    /// For room to read on.
    wait: Option<BoxFuture<'static, bool>>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = &mut *self;
        // What is read after the cut is thrown away.
        let is_cut = this.share.is_cut.load(Ordering::Relaxed);
        if !is_cut && (this.wait.is_some() || this.share.is_over()) {
            let (bodies, own) = (&this.share.bodies, this.share.bytes.load(Ordering::Relaxed));
            let wait = this.wait.get_or_insert_with(|| bodies.clone().room(own).boxed());
            let has_room = ready!(wait.as_mut().poll(context));
            this.wait = None;
            if !has_room {
                this.share.is_cut.store(true, Ordering::Relaxed);
                let full = io::Error::other("too many writes are in progress");
                return Poll::Ready(Some(Err(full.into())));
            }
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && !is_cut
        {
            this.share.take(frame.data_ref().map_or(0, Bytes::len));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
