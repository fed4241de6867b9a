//! One connection: its requests go to the router of the moment.

use super::{
    Bounds, Caller,
    entry::Entry,
    progress::Progress,
    stream::{Protocol, Stream},
};
use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::RwLock;
use std::{
    convert::Infallible,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// The router that answers, which changes once the node is open.
pub(super) type SharedRouter = Arc<RwLock<Router>>;

/// Serves one connection to its end; after `stop`, to the end of the requests in progress.
pub(super) async fn serve(
    socket: TcpStream,
    entry: Entry,
    router: SharedRouter,
    progress: Arc<Progress>,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let caller = socket.peer_addr().ok().map(|peer| Caller(peer.ip().to_canonical()));
    let come = async {
        let Some(socket) = entry.admit(socket).await? else {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        };
        let mut stream = Stream::new(socket, progress.clone());
        let protocol = stream.first_head(bounds.header_bytes_max).await?;
        Ok::<_, std::io::Error>((protocol, stream))
    };
    let come = tokio::select! {
        // A handshake takes memory that a connection in use does not need.
        come = Box::pin(come) => come,
        () = progress.closed() => return,
        () = stop.cancelled() => return,
    };
    let Ok((protocol, stream)) = come else { return };
    let io = TokioIo::new(stream);
    let service = service_fn({
        let progress = progress.clone();
        move |mut request| {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            answer(router.read().clone(), InProgress::new(&progress), request)
        }
    });
    match protocol {
        Protocol::Http1 => {
            let connection = http1(&bounds).serve_connection(io, service);
            // Boxed, so that a connection takes the memory of its own protocol only.
            Box::pin(until(connection, |one| one.graceful_shutdown(), &progress, &stop)).await;
        }
        Protocol::Http2 => {
            let connection = http2(&bounds).serve_connection(io, service);
            Box::pin(until(connection, |one| one.graceful_shutdown(), &progress, &stop)).await;
        }
    }
}

async fn until<C: Future>(
    connection: C,
    finish: impl Fn(Pin<&mut C>),
    progress: &Progress,
    stop: &CancellationToken,
) {
    let mut connection = pin!(connection);
    // A client that breaks off is its own affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = progress.closed() => return,
        () = stop.cancelled() => finish(connection.as_mut()),
    }
    tokio::select! {
        _ = connection.as_mut() => {}
        () = progress.closed() => {}
    }
}

fn http1(bounds: &Bounds) -> http1::Builder {
    /// Bytes read at once; the bound on headers is a smaller one.
    const BUFFER_BYTES_MAX: usize = 512 << 10;
    /// How many times the bound a head may be to be refused in words, by the router; a longer one is
    /// refused without.
    const HEADS_REFUSED: usize = 4;
    let mut builder = http1::Builder::new();
    builder
        .max_header_size(HEADS_REFUSED * bounds.header_bytes_max)
        .max_buf_size(BUFFER_BYTES_MAX.max(2 * HEADS_REFUSED * bounds.header_bytes_max))
        .header_read_timeout(None)
        .timer(TokioTimer::new());
    builder
}

fn http2(bounds: &Bounds) -> http2::Builder<TokioExecutor> {
    const STREAMS_MAX: u32 = 128;
    const STREAM_WINDOW_BYTES: u32 = 1 << 20;
    const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .max_header_list_size(u32::try_from(bounds.header_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .timer(TokioTimer::new());
    builder
}

/// Questions, which nobody wants answered once the client is gone. Whatever else a request asks for
/// is done to its end; some clients close their side as soon as they have sent it.
const QUESTIONS: [&str; 2] = ["/api/v1/query", "/api/v1/sql"];

fn answer(
    mut router: Router,
    progress: InProgress,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response, Infallible>> {
    let request = if QUESTIONS.contains(&request.uri().path()) {
        request.map(Body::new)
    } else {
        // Said at once: the end of what the client sends may be met before the first poll.
        progress.0.answers_anyway();
        request.map(|body| Body::new(Arriving { body, progress: progress.0.clone() }))
    };
    async move {
        let answer = router.call(request).await.into_response();
        Ok(answer.map(|body| Body::new(Answering { body, _progress: progress })))
    }
}

/// A request from its head to the end of its answer.
struct InProgress(Arc<Progress>);

impl InProgress {
    fn new(progress: &Arc<Progress>) -> InProgress {
        progress.request_begins();
        InProgress(progress.clone())
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.request_ends();
    }
}

/// The body of a request that is answered though the client has closed its side, unless that cut
/// the body short.
struct Arriving {
    body: Incoming,
    progress: Arc<Progress>,
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            // All that was sent has been passed on before its end is met.
            Poll::Pending if self.progress.has_met_end() => {
                let cut = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                Poll::Ready(Some(Err(axum::Error::new(cut))))
            }
            frame => frame.map(|frame| frame.map(|frame| frame.map_err(axum::Error::new))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body whose end is the end of the request.
struct Answering {
    body: Body,
    _progress: InProgress,
}

impl http_body::Body for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
