//! The side that lacks the files: asks for them piece by piece.

use super::{
    budget::Copies,
    wire::{Ask, PIECE_BYTES_MAX, Piece, PieceWanted},
};
use crate::{
    Error, MemberId, Result,
    machine::Staged,
    tasks::{self, blocking, timeout},
    transport::{CallError, Kind, Network, Pending, Request},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use oribi_store::{Gap, log::GroupId};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Pieces that are asked for at once.
const PIECES_MAX: usize = 4;
/// How long a piece may take.
const PIECE_WAIT: Duration = Duration::from_secs(10);
/// Before a source is asked again that did not answer.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How long a source may not answer.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How often in a row a piece or a file may come damaged.
const DAMAGE_MAX: u32 = 3;

/// Where pieces come from.
pub(crate) struct Pull {
    pub(crate) group: GroupId,
    pub(crate) source: MemberId,
    pub(crate) pin: u64,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) copies: Arc<Copies>,
    /// Counts the bytes that have come.
    pub(crate) copied: Arc<AtomicU64>,
}

/// How far it got.
pub(crate) enum Pulled {
    /// All is there.
    Whole(Box<dyn Staged>),
    /// It broke off; what is there may be of use later.
    Part(Box<dyn Staged>, String),
    /// It broke off, and nothing is there.
    Nothing(String),
}

/// Why one gap was not filled.
enum Trouble {
    /// It may be better soon.
    Silence(String),
    Damage(String),
    Final(String),
}

impl Pull {
    /// Fills the gaps of `staged` until all is there, it cannot go on, or `is_wanted` says no.
    pub(crate) async fn run(
        &self,
        mut staged: Box<dyn Staged>,
        is_wanted: impl Fn() -> bool,
    ) -> Pulled {
        let (mut heard, mut damages) = (tasks::now(), 0);
        while let Some(gap) = staged.gap() {
            if !is_wanted() {
                return Pulled::Part(staged, "it is not wanted any more".into());
            }
            let begin = gap.clone();
            let (back, trouble) = match self.fill(staged, gap).await {
                Ok(filled) => filled,
                Err(error) => return Pulled::Nothing(error.to_string()),
            };
            staged = back;
            let place = |gap: &Gap| (gap.file, gap.bytes.start);
            if staged.gap().is_none_or(|gap| place(&gap) > place(&begin)) {
                (heard, damages) = (tasks::now(), 0);
            }
            match trouble {
                None => {}
                Some(Trouble::Final(reason)) => return Pulled::Part(staged, reason),
                Some(Trouble::Silence(reason)) if tasks::now() - heard >= SILENCE_MAX => {
                    return Pulled::Part(staged, reason);
                }
                Some(Trouble::Silence(_)) => tasks::sleep(RETRY_PAUSE).await,
                Some(Trouble::Damage(reason)) => {
                    damages += 1;
                    tracing::warn!(group = self.group.0, source = %self.source, reason, "a copy");
                    if damages >= DAMAGE_MAX {
                        return Pulled::Part(staged, reason);
                    }
                }
            }
        }
        Pulled::Whole(staged)
    }

    /// Asks for all of a gap, and writes what comes in its order.
    async fn fill(
        &self,
        mut staged: Box<dyn Staged>,
        gap: Gap,
    ) -> Result<(Box<dyn Staged>, Option<Trouble>)> {
        let step = PIECE_BYTES_MAX as u64;
        let pieces = gap.bytes.clone().step_by(PIECE_BYTES_MAX);
        let pieces = pieces.map(|start| start..gap.bytes.end.min(start.saturating_add(step)));
        let asked = stream::iter(pieces).map(|bytes| async move {
            self.copies.pace(bytes.end - bytes.start).await;
            (bytes.start, self.piece(gap.file as u32, bytes).await)
        });
        let mut asked = std::pin::pin!(asked.buffered(PIECES_MAX));
        while let Some((offset, piece)) = asked.next().await {
            let bytes = match piece {
                Ok(bytes) => bytes,
                Err(trouble) => return Ok((staged, Some(trouble))),
            };
            let (file, copied) = (gap.file, self.copied.clone());
            let (back, outcome) = blocking(move || {
                let outcome = staged.write(file, offset, &bytes);
                copied.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Ok((staged, outcome))
            })
            .await?;
            staged = back;
            match outcome {
                Ok(()) => {}
                Err(error @ Error::Store(oribi_store::Error::Corrupt { .. })) => {
                    return Ok((staged, Some(Trouble::Damage(error.to_string()))));
                }
                Err(error) => return Ok((staged, Some(Trouble::Final(error.to_string())))),
            }
        }
        Ok((staged, None))
    }

    async fn piece(&self, file: u32, bytes: std::ops::Range<u64>) -> Result<Bytes, Trouble> {
        let wanted = PieceWanted { pin: self.pin, file, bytes: bytes.clone() };
        let body = match timeout(PIECE_WAIT, self.ask(&Ask::Piece(wanted))).await {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => return Err(Trouble::Silence(error.to_string())),
            Err(_) => return Err(Trouble::Silence("a piece did not come in time".into())),
        };
        match Piece::decode(body) {
            Some(Piece::Bytes(piece)) if piece.len() as u64 == bytes.end - bytes.start => Ok(piece),
            Some(Piece::Bytes(_)) | None => Err(Trouble::Damage("a piece came damaged".into())),
            Some(Piece::Gone) => Err(Trouble::Final("the source holds it no longer".into())),
            Some(Piece::Failed(reason)) => Err(Trouble::Final(reason)),
        }
    }

    fn ask(&self, ask: &Ask) -> Pending<Result<Bytes, CallError>> {
        let (group, incarnation) = (self.group, self.source.incarnation);
        let request = Request { kind: Kind::Segment, group, incarnation, body: ask.encode() };
        self.network.call(self.source.node, request)
    }
}
