//! An established connection while it lasts: one side reads, one gathers and writes.

use super::{
    Agreed, Decoder, Frame, FrameError, Kind, Received, Refusal, Role, Service,
    calls::{Calls, Queue},
    network::Pending,
};
use bytes::{Buf, Bytes, BytesMut};
use futures::stream::{FuturesUnordered, StreamExt};
use std::{collections::VecDeque, io, io::IoSlice, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::Notify,
    task::JoinSet,
};

/// Requests of one connection that are worked on at once; beyond it nothing more is read.
const SERVED_MAX: usize = 1_024;
/// Bytes that are gathered for one write.
const GATHER_BYTES: usize = 256 << 10;
/// A body as long as this is not copied to be gathered.
const BODY_BYTES_APART: usize = 8 << 10;
const READ_BYTES: usize = 64 << 10;

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the other side has closed the connection")]
    Closed,
    #[error("another connection has taken its place, or the node stops")]
    Stopped,
    #[error("cannot read or write: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// One connection.
pub(super) struct Pump {
    pub(super) agreed: Agreed,
    pub(super) calls: Calls,
    pub(super) queue: Queue,
    pub(super) service: Arc<dyn Service>,
    /// Told once nothing more is to be read.
    pub(super) stop: Arc<Notify>,
}

impl Pump {
    /// Runs until one of the two sides ends it. Once this resolves, nothing more of the connection
    /// is handed on.
    pub(super) async fn run<S>(self, stream: S, decoder: Decoder) -> Ended
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (reader, writer) = tokio::io::split(stream);
        let Pump { agreed, calls, queue, service, stop } = self;
        let mut writing = JoinSet::new();
        writing.spawn(write(writer, queue));
        let ended = tokio::select! {
            biased;
            () = stop.notified() => Ended::Stopped,
            written = writing.join_next() => match written {
                Some(Ok(ended)) => ended,
                _ => Ended::Stopped,
            },
            ended = read(reader, decoder, &agreed, &calls, &*service) => ended,
        };
        // With it the queue goes, so that whoever waits for an answer is told.
        writing.shutdown().await;
        ended
    }
}

type Served = FuturesUnordered<Pending<Frame>>;

async fn read(
    mut reader: impl AsyncRead + Unpin,
    mut decoder: Decoder,
    agreed: &Agreed,
    calls: &Calls,
    service: &dyn Service,
) -> Ended {
    let mut served = Served::new();
    loop {
        // What came with the hello waits already.
        loop {
            match decoder.next_frame() {
                Ok(Some(received)) => take(received, agreed, calls, service, &served),
                Ok(None) => break,
                Err(error) => return error.into(),
            }
            if served.len() >= SERVED_MAX
                && let Some(answer) = served.next().await
            {
                calls.answer(answer).await;
            }
        }
        let buffer = decoder.buffer();
        if buffer.capacity() - buffer.len() < READ_BYTES / 2 {
            buffer.reserve(READ_BYTES);
        }
        tokio::select! {
            biased;
            Some(answer) = served.next() => calls.answer(answer).await,
            read = reader.read_buf(buffer) => match read {
                Ok(0) => return Ended::Closed,
                Ok(_) => {}
                Err(error) => return error.into(),
            },
        }
    }
}

fn take(
    received: Received,
    agreed: &Agreed,
    calls: &Calls,
    service: &dyn Service,
    served: &Served,
) {
    match received {
        Received::Frame(frame) if frame.role == Role::Request => {
            let answering = service.serve(agreed, frame.clone());
            if frame.request == 0 {
                return;
            }
            let empty = Frame { body: Bytes::new(), ..frame };
            served.push(Box::pin(async move {
                match answering.await {
                    Ok(body) => empty.answered(Role::Answer, body),
                    Err(refusal) => empty.answered(Role::Refusal, refusal.encode()),
                }
            }));
        }
        Received::Frame(frame) => calls.answered(frame),
        Received::UnknownKind { kind, role: Role::Request, request } if request > 0 => {
            // Of an answer only the number counts.
            let frame = Frame::notice(Kind::Hello, Refusal::UnknownKind(kind).encode());
            let frame = Frame { role: Role::Refusal, request, ..frame };
            served.push(Box::pin(std::future::ready(frame)));
        }
        Received::UnknownKind { .. } => {}
    }
}

async fn write(mut writer: impl AsyncWrite + Unpin, mut queue: Queue) -> Ended {
    let mut gathered = Gathered::default();
    while let Some(frame) = queue.next().await {
        gathered.push(&frame);
        while gathered.bytes < GATHER_BYTES
            && let Some(frame) = queue.waiting()
        {
            gathered.push(&frame);
        }
        if let Err(error) = gathered.write(&mut writer).await {
            return error.into();
        }
    }
    Ended::Stopped
}

/// Frames that are written together.
#[derive(Default)]
struct Gathered {
    parts: VecDeque<Bytes>,
    last: BytesMut,
    bytes: usize,
}

impl Gathered {
    fn push(&mut self, frame: &Frame) {
        let head = frame.head();
        self.last.extend_from_slice(&head);
        if frame.body.len() < BODY_BYTES_APART {
            self.last.extend_from_slice(&frame.body);
        } else {
            self.parts.push_back(self.last.split().freeze());
            self.parts.push_back(frame.body.clone());
        }
        let tail = frame.tail(&head);
        self.last.extend_from_slice(&tail);
        self.bytes += head.len() + frame.body.len() + tail.len();
    }

    async fn write(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        const SLICES_MAX: usize = 64;
        self.parts.push_back(self.last.split().freeze());
        while !self.parts.is_empty() {
            let slices: Vec<IoSlice<'_>> =
                self.parts.iter().take(SLICES_MAX).map(|part| IoSlice::new(part)).collect();
            let mut written = writer.write_vectored(&slices).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            while let Some(part) = self.parts.front_mut() {
                let count = written.min(part.len());
                part.advance(count);
                written -= count;
                if !part.is_empty() {
                    break;
                }
                self.parts.pop_front();
            }
        }
        self.bytes = 0;
        writer.flush().await
    }
}
