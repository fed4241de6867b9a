//! Measurements with their tags as written, remembered over batches.

use crate::{
    digest::Digest,
    memo::Memo,
    points::{KnownSeries, TagNames},
};
use oribi_model::Name;
use parking_lot::Mutex;

/// Bytes of the heads that one decoder remembers.
const HEADS_BYTES_MAX: usize = 24 << 20;
/// The same for one of many, as there is one for each partition of a topic.
const SMALL_HEADS_BYTES_MAX: usize = 4 << 20;
/// Heads at rest in a [`HeadPool`].
const POOLED_MAX: usize = 4;

/// What the text before the fields of a line says. Whoever has seen one need not parse its tags
/// again, in that batch or in a later one.
#[derive(Debug)]
pub struct Heads {
    memo: Memo<Head>,
    /// Those of the head that was added last, which the next ones often share.
    names: Option<TagNames>,
    /// The batch whose places and series hold.
    batch: u64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Head {
    db: Name,
    /// Of its text.
    digest: Digest,
    pub(super) measurement: Box<str>,
    pub(super) tags: KnownSeries,
    /// The batch for which `place` and `series` hold.
    batch: u64,
    place: usize,
    series: u32,
}

impl Heads {
    /// None yet.
    pub fn new() -> Heads {
        Heads::within(HEADS_BYTES_MAX)
    }

    /// None yet, for a decoder of which there are many.
    pub fn small() -> Heads {
        Heads::within(SMALL_HEADS_BYTES_MAX)
    }

    /// None yet, and never more than so many bytes of them.
    pub(super) fn within(bytes_max: usize) -> Heads {
        Heads { memo: Memo::new(bytes_max), names: None, batch: 1 }
    }

    /// Begins another batch: what is known of the heads stays, their places do not.
    pub fn begin_batch(&mut self) {
        self.batch += 1;
    }

    /// The place of a head that was seen before.
    #[inline]
    pub(super) fn find(&self, db: &Name, digest: Digest) -> Option<usize> {
        self.memo.find(digest.hash64(), |head| head.digest == digest && head.db == *db)
    }

    pub(super) fn get(&mut self, at: usize) -> &mut Head {
        self.memo.get(at)
    }

    /// Table and series of a head in the present batch, where it was met there.
    #[inline]
    pub(super) fn placed(&mut self, at: usize) -> Option<(usize, u32)> {
        let batch = self.batch;
        let head = self.memo.get(at);
        (head.batch == batch).then_some((head.place, head.series))
    }

    /// Notes them.
    pub(super) fn place(&mut self, at: usize, place: usize, series: u32) {
        let batch = self.batch;
        let head = self.memo.get(at);
        (head.batch, head.place, head.series) = (batch, place, series);
    }

    /// Remembers a head, which is met at `place` and `series` in the present batch.
    pub(super) fn add(
        &mut self,
        db: &Name,
        digest: Digest,
        measurement: &str,
        tags: &[(&str, &str)],
        (place, series): (usize, u32),
    ) {
        let tags = KnownSeries::new(tags, self.names.as_ref());
        let bytes = size_of::<Head>() + measurement.len() + tags.bytes(self.names.as_ref());
        self.names = Some(tags.names().clone());
        let (db, measurement) = (db.clone(), measurement.into());
        let head = Head { db, digest, measurement, tags, batch: self.batch, place, series };
        self.memo.insert(digest.hash64(), head, bytes);
    }
}

impl Default for Heads {
    fn default() -> Heads {
        Heads::new()
    }
}

/// Heads for decoders that come and go: one is taken for a body and given back after it, the one
/// that was used last first. There are as many as bodies that were decoded at once, up to a bound.
#[derive(Debug, Default)]
pub struct HeadPool {
    at_rest: Mutex<Vec<Heads>>,
}

impl HeadPool {
    /// Heads for one batch.
    pub fn take(&self) -> Heads {
        let mut heads = self.at_rest.lock().pop().unwrap_or_default();
        heads.begin_batch();
        heads
    }

    /// Gives them back.
    pub fn put(&self, heads: Heads) {
        let mut at_rest = self.at_rest.lock();
        if at_rest.len() < POOLED_MAX {
            at_rest.push(heads);
        }
    }
}
