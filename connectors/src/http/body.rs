//! Reading a body within its bounds, decompressed while it streams.

use super::WriteOptions;
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, header},
};
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt;
use std::{io::Write, time::Duration};

/// What is reserved for a body before it comes; untouched memory of it costs nothing.
const CAPACITY_BYTES_MAX: usize = 4 << 20;
/// Decompressed bytes before the ratio counts.
const RATIO_FREE_BYTES: usize = 1 << 20;
/// After a refusal, so much of the body is still read so that the client sees the answer.
const DRAIN_BYTES_MAX: usize = 32 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(3);

/// Why a body cannot be had.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) detail: String,
}

fn refused(status: StatusCode, detail: impl Into<String>) -> Refused {
    Refused { status, detail: detail.into() }
}

/// The body's bytes, decompressed.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    options: &WriteOptions,
) -> Result<Vec<u8>, Refused> {
    let head = match Head::of(headers, options) {
        Ok(head) => head,
        // Whoever waits for leave to send has sent nothing, and is told not to.
        Err(wrong) if headers.contains_key(header::EXPECT) => return Err(wrong),
        Err(wrong) => {
            drain(body).await;
            return Err(wrong);
        }
    };
    match read_bounded(&head, &mut body, options).await {
        Ok(bytes) => Ok(bytes),
        Err(wrong) => {
            if wrong.status != StatusCode::REQUEST_TIMEOUT {
                drain(body).await;
            }
            Err(wrong)
        }
    }
}

/// What headers say of a body.
struct Head {
    is_gzip: bool,
    /// Bytes that come, as far as they are known.
    bytes: usize,
}

impl Head {
    fn of(headers: &HeaderMap, options: &WriteOptions) -> Result<Head, Refused> {
        let is_gzip = is_gzip(headers)?;
        let declared = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > options.body_bytes_max as u64) {
            return Err(too_large(options));
        }
        Ok(Head { is_gzip, bytes: declared.unwrap_or(0) as usize })
    }
}

async fn read_bounded(
    head: &Head,
    body: &mut Body,
    options: &WriteOptions,
) -> Result<Vec<u8>, Refused> {
    if head.is_gzip {
        return read_gzip(body, options).await;
    }
    let mut bytes = Vec::with_capacity(head.bytes.min(CAPACITY_BYTES_MAX));
    while let Some(chunk) = next_chunk(body, options).await? {
        if bytes.len() + chunk.len() > options.body_bytes_max {
            return Err(too_large(options));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Refused> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(encoding) = encodings.next() else { return Ok(false) };
    let name = encoding.to_str().unwrap_or("?").trim().to_ascii_lowercase();
    match (name.as_str(), encodings.next()) {
        ("gzip" | "x-gzip", None) => Ok(true),
        ("identity" | "", None) => Ok(false),
        _ => {
            let detail = format!("the content encoding {name:?} is not known; use gzip or none");
            Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
        }
    }
}

fn too_large(options: &WriteOptions) -> Refused {
    let detail = format!("the body is larger than {} bytes", options.body_bytes_max);
    refused(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

async fn next_chunk(body: &mut Body, options: &WriteOptions) -> Result<Option<Bytes>, Refused> {
    loop {
        let frame = tokio::time::timeout(options.idle_timeout, body.frame()).await;
        let frame = frame.map_err(|_| {
            let detail = format!("the body paused for {} s", options.idle_timeout.as_secs());
            refused(StatusCode::REQUEST_TIMEOUT, detail)
        })?;
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(wrong)) => {
                let detail = format!("the body ended too early: {wrong}");
                return Err(refused(StatusCode::BAD_REQUEST, detail));
            }
        }
    }
}

async fn read_gzip(body: &mut Body, options: &WriteOptions) -> Result<Vec<u8>, Refused> {
    let mut decoder = MultiGzDecoder::new(Bounded {
        bytes: Vec::new(),
        bytes_max: options.decompressed_bytes_max,
        over: false,
    });
    let mut received = 0usize;
    while let Some(chunk) = next_chunk(body, options).await? {
        received += chunk.len();
        if received > options.body_bytes_max {
            return Err(too_large(options));
        }
        let allowed = RATIO_FREE_BYTES.max(received.saturating_mul(options.ratio_max));
        decoder.get_mut().bytes_max = allowed.min(options.decompressed_bytes_max);
        if let Err(wrong) = decoder.write_all(&chunk) {
            return Err(broken_gzip(decoder.get_ref(), options, &wrong));
        }
    }
    if received == 0 {
        return Ok(Vec::new());
    }
    if let Err(wrong) = decoder.try_finish() {
        return Err(broken_gzip(decoder.get_ref(), options, &wrong));
    }
    Ok(std::mem::take(&mut decoder.get_mut().bytes))
}

fn broken_gzip(output: &Bounded, options: &WriteOptions, wrong: &std::io::Error) -> Refused {
    if !output.over {
        let detail = format!("cannot decompress the body: {wrong}");
        return refused(StatusCode::BAD_REQUEST, detail);
    }
    let detail = format!(
        "the body decompresses to more than {} bytes, or to more than {} times its size",
        options.decompressed_bytes_max, options.ratio_max
    );
    refused(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// Output that stops growing at its bound.
struct Bounded {
    bytes: Vec<u8>,
    bytes_max: usize,
    over: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.bytes_max {
            self.over = true;
            return Err(std::io::Error::other("too large"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn drain(mut body: Body) {
    let rest = async {
        let mut drained = 0;
        while let Some(Ok(frame)) = body.frame().await {
            drained += frame.data_ref().map_or(0, Bytes::len);
            if drained > DRAIN_BYTES_MAX {
                break;
            }
        }
    };
    // Whether the rest came or not, the answer goes out now.
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, rest).await;
}
