//! A bound on the bodies of writes that are in progress, over all connections.

use super::problem;
use crate::config::HttpOptions;
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http_body::{Body as _, Frame, SizeHint};
use oribi_model::Pressure;
use parking_lot::Mutex;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};

/// What one permit stands for, bytes.
const PERMIT_BYTES: usize = 1_024;
/// A compressed byte stands for so many in memory.
const COMPRESSED_WEIGHT: usize = 8;
/// Room taken at a time by a body that does not say how long it is, bytes.
const PIECE_BYTES: usize = 64 << 10;
/// One body takes at most one part in so many of all room before its bytes come, so that whoever only
/// announces large ones keeps nobody out.
const AHEAD_PART: usize = 8;
/// How long the rest of a body may keep its room without coming.
const AHEAD_MAX: Duration = Duration::from_secs(1);

/// Room for bodies in progress, given in the order in which it is asked for. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Bodies(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    room: Arc<Semaphore>,
    permits: usize,
    bytes_max: usize,
    /// Longer bodies are refused for that and need no room.
    one_bytes_max: usize,
    wait_max: Duration,
    pressure: Pressure,
}

impl Bodies {
    /// No bodies yet, and as much room as `options` say; who waits for some is counted in `pressure`.
    pub(crate) fn new(options: &HttpOptions, pressure: Pressure) -> Bodies {
        let bytes_max = options.inflight_bytes_max;
        let permits = (bytes_max / PERMIT_BYTES).max(1);
        Bodies(Arc::new(Shared {
            room: Arc::new(Semaphore::new(permits)),
            permits,
            bytes_max,
            one_bytes_max: options.body_bytes_max,
            wait_max: options.wait_max(),
            pressure,
        }))
    }

    /// Waits for so many permits; `None` where others did not leave them in time.
    async fn room(self, permits: usize) -> Option<OwnedSemaphorePermit> {
        let Shared { room, wait_max, pressure, .. } = &*self.0;
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        if let Ok(taken) = room.clone().try_acquire_many_owned(permits) {
            return Some(taken);
        }
        let _waiting = pressure.wait_for_room();
        let taken = tokio::time::timeout(*wait_max, room.clone().acquire_many_owned(permits));
        taken.await.ok()?.ok()
    }
}

/// Reads the body of a write as there is room for it; past a bounded wait it is a 503.
pub(super) async fn bound(State(bodies): State<Bodies>, request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let share = Arc::new(Share::default());
    let counted = Counted::new(bodies.clone(), share.clone(), request.headers(), request.body());
    let request = request.map(|body| Body::new(counted.over(body)));
    let answer = next.run(request).await;
    if !share.is_cut.load(Ordering::Relaxed) {
        return answer;
    }
    // The handler saw a body that broke off, which is not the client's fault.
    let detail = format!(
        "more than {} bytes of writes are in progress (http.inflight_bytes_max); try again",
        bodies.0.bytes_max
    );
    problem::not_stored(&uri, detail)
}

/// One request's room, given back when its answer is ready.
#[derive(Default)]
struct Share {
    taken: Mutex<Option<OwnedSemaphorePermit>>,
    is_cut: AtomicBool,
}

impl Share {
    fn permits(&self) -> usize {
        self.taken.lock().as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn add(&self, more: OwnedSemaphorePermit) {
        match &mut *self.taken.lock() {
            Some(taken) => taken.merge(more),
            none => *none = Some(more),
        }
    }

    /// Gives back all but so many.
    fn keep(&self, permits: usize) {
        let mut taken = self.taken.lock();
        let over = taken.as_ref().map_or(0, |taken| taken.num_permits().saturating_sub(permits));
        drop(taken.as_mut().and_then(|taken| taken.split(over)));
    }
}

/// How room is taken for a body.
struct Counted<B> {
    body: B,
    bodies: Bodies,
    share: Arc<Share>,
    weight: usize,
    /// Bytes that are to come, where that is known.
    declared: Option<usize>,
    /// Nothing comes before the client is asked for it.
    is_asked_for: bool,
    received: usize,
    /// For room to read on.
    wait: Option<BoxFuture<'static, Option<OwnedSemaphorePermit>>>,
    ahead: Ahead,
}

/// What becomes of the room of bytes that have not come.
enum Ahead {
    /// It is taken before they come.
    Kept,
    /// They are waited for.
    Until(Pin<Box<Sleep>>),
    /// It is taken a piece at a time.
    GivenBack,
}

impl Counted<()> {
    fn new(bodies: Bodies, share: Arc<Share>, headers: &HeaderMap, body: &Body) -> Counted<()> {
        let is_compressed = headers.contains_key(header::CONTENT_ENCODING);
        let declared = body.size_hint().exact();
        Counted {
            body: (),
            bodies,
            share,
            weight: if is_compressed { COMPRESSED_WEIGHT } else { 1 },
            declared: declared.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            is_asked_for: headers.contains_key(header::EXPECT),
            received: 0,
            wait: None,
            ahead: Ahead::Kept,
        }
    }

    fn over<B>(self, body: B) -> Counted<B> {
        let Counted {
            bodies, share, weight, declared, is_asked_for, received, wait, ahead, ..
        } = self;
        Counted { body, bodies, share, weight, declared, is_asked_for, received, wait, ahead }
    }
}

impl<B> Counted<B> {
    /// Permits that so many bytes take, at most all there are: one that is alone never waits.
    fn permits_of(&self, bytes: usize) -> usize {
        let permits = bytes.saturating_mul(self.weight).div_ceil(PERMIT_BYTES);
        permits.min(self.bodies.0.permits)
    }

    /// Permits that are to be there before more is read.
    fn wanted(&self) -> usize {
        let one_bytes_max = self.bodies.0.one_bytes_max;
        match self.declared {
            Some(bytes) if bytes > one_bytes_max => 0,
            Some(bytes) if matches!(self.ahead, Ahead::GivenBack) => {
                self.permits_of(bytes.min(self.received + PIECE_BYTES))
            }
            Some(bytes) => {
                let ahead = self.permits_of(bytes).min(self.bodies.0.permits / AHEAD_PART);
                ahead.max(self.permits_of(bytes.min(self.received + PIECE_BYTES)))
            }
            None => self.permits_of(one_bytes_max.min(self.received + PIECE_BYTES)),
        }
    }

    /// Waits for the room that more needs; `false` where there is none.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let lacking = self.wanted().saturating_sub(self.share.permits());
        if self.wait.is_none() && lacking == 0 {
            return Poll::Ready(true);
        }
        let bodies = &self.bodies;
        let wait = self.wait.get_or_insert_with(|| bodies.clone().room(lacking).boxed());
        let taken = ready!(wait.as_mut().poll(context));
        self.wait = None;
        let has_room = taken.is_some();
        taken.into_iter().for_each(|taken| self.share.add(taken));
        Poll::Ready(has_room)
    }

    /// Gives back, after a while, the room of what has not come.
    fn poll_ahead(&mut self, context: &mut Context<'_>) {
        if matches!(self.ahead, Ahead::Kept) {
            self.ahead = Ahead::Until(Box::pin(tokio::time::sleep(AHEAD_MAX)));
        }
        let Ahead::Until(late) = &mut self.ahead else { return };
        if late.as_mut().poll(context).is_ready() {
            self.ahead = Ahead::GivenBack;
            self.share.keep(self.permits_of(self.received));
        }
    }
}

impl<B> http_body::Body for Counted<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = &mut *self;
        // What is read after the cut is thrown away.
        if !this.share.is_cut.load(Ordering::Relaxed) && !ready!(this.poll_room(context)) {
            this.share.is_cut.store(true, Ordering::Relaxed);
            this.share.keep(0);
            let full = io::Error::other("too many writes are in progress");
            return Poll::Ready(Some(Err(full.into())));
        }
        let is_cut = this.share.is_cut.load(Ordering::Relaxed);
        if is_cut && this.is_asked_for && this.received == 0 {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
            if !is_cut {
                this.poll_ahead(context);
            }
            return Poll::Pending;
        };
        if let Some(Ok(frame)) = &frame {
            this.received += frame.data_ref().map_or(0, Bytes::len);
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

#[cfg(test)]
mod tests;
