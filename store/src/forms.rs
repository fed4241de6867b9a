//! Bytes of every form, read as a restart and the questions after it would: for fuzzers.

use crate::{
    OpenFiles, codec,
    disk::{create_dir_durably, sim::SimDisk},
    log::{Log, LogOptions},
    manifest::Manifest,
    segment::Segment,
};
use oribi_model::{Bucket, TableId, TabletId, TabletSpec, TimeRange};
use std::{path::Path, sync::Arc};

/// A form of what lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A row batch in a log entry.
    Batch,
    /// A file of the log.
    Log,
    /// A tablet's manifest.
    Manifest,
    /// A segment.
    Segment,
}

impl Form {
    /// All forms, with their names.
    pub const ALL: [(&'static str, Form); 4] = [
        ("batch", Form::Batch),
        ("log", Form::Log),
        ("manifest", Form::Manifest),
        ("segment", Form::Segment),
    ];
}

/// Reads `bytes` as far as they can be read; tells whether there was nothing to complain of.
pub fn read(form: Form, bytes: &[u8]) -> bool {
    match form {
        Form::Batch => codec::decode_batch(bytes).is_ok(),
        Form::Log => read_log(bytes),
        Form::Manifest => {
            let disk = on_disk(Path::new("/d/MANIFEST"), bytes);
            Manifest::read(&disk, Path::new("/d"), TABLET).is_ok()
        }
        Form::Segment => {
            let path = Path::new("/d/1.seg");
            let (disk, files) = (Arc::new(on_disk(path, bytes)), Arc::new(OpenFiles::new(1)));
            let bucket = Bucket { index: 0, count: 1 };
            let spec = TabletSpec { id: TABLET, table: TableId(4), range: TimeRange::ALL, bucket };
            let opened = Segment::open(disk, files, path, &spec, 1);
            opened.and_then(|segment| segment.verify()).is_ok()
        }
    }
}

/// The tablet of the segments and manifests that are read.
pub const TABLET: TabletId = TabletId(77);

fn on_disk(path: &Path, bytes: &[u8]) -> SimDisk {
    let disk = SimDisk::new();
    let dir = path.parent().unwrap_or(Path::new("/"));
    // A disk in memory that nothing was told to go wrong with.
    create_dir_durably(&disk, dir).unwrap_or_default();
    disk.put(path, bytes.to_vec());
    disk
}

fn read_log(bytes: &[u8]) -> bool {
    let disk = on_disk(Path::new("/d/000000000001.log"), bytes);
    let options = LogOptions { file_bytes: 4_096, ..LogOptions::default() };
    let Ok(log) = Log::open(Arc::new(disk), "/d".into(), options) else { return false };
    let read_all = |group| {
        let entries = log.group(group).map(|state| state.entries).unwrap_or_default();
        entries.start.saturating_add(100) < entries.end || log.read(group, entries).is_ok()
    };
    let readable = log.groups().into_iter().all(read_all);
    log.close();
    readable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checksum,
        disk::Disk,
        log::{GroupId, Op},
        testing::{Random, random_batch},
    };
    use oribi_model::{LogIndex, Marks};

    fn batch() -> Vec<u8> {
        let mut bytes = Vec::new();
        codec::encode_batch(&random_batch(&mut Random(3), 40), &mut bytes);
        bytes
    }

    fn log() -> Vec<u8> {
        let disk = on_disk(Path::new("/x/none"), &[]);
        let log = Log::open(Arc::new(disk.clone()), "/x/log".into(), LogOptions::default());
        let log = log.unwrap();
        let steps = [
            Op::Vote(b"vote"[..].into()),
            Op::Append { first: 0, entries: vec![b"one"[..].into(), b"two"[..].into()] },
            Op::Committed(b"committed"[..].into()),
            Op::Truncate { from: 1 },
            Op::Append { first: 1, entries: vec![batch().into()] },
            Op::Purge { upto: 0, mark: b"mark"[..].into() },
        ];
        for step in steps {
            log.submit(GroupId(1), step, Box::new(|outcome| outcome.unwrap()));
        }
        log.close();
        let mut bytes = disk.bytes(Path::new("/x/log/000000000001.log")).unwrap();
        bytes.truncate(2_000);
        bytes
    }

    fn manifest() -> Vec<u8> {
        let disk = on_disk(Path::new("/d/none"), &[]);
        let flushed = crate::Flushed {
            index: LogIndex(9),
            raft_state: b"{}".to_vec(),
            marks: Marks::default(),
        };
        let (segments, deletes) = (Vec::new(), Vec::new());
        let manifest = Manifest { tablet: TABLET, flushed: Some(flushed), segments, deletes };
        manifest.stage(&disk, Path::new("/d")).unwrap().commit().unwrap();
        assert!(disk.list(Path::new("/d")).is_ok());
        disk.bytes(Path::new("/d/MANIFEST")).unwrap()
    }

    /// Bytes of a form that one could have written, and some that are like them.
    fn survive(form: Form, originals: &[Vec<u8>], cases: u64) {
        for original in originals {
            assert!(read(form, original), "{form:?}");
        }
        let mut random = Random(original_seed(form));
        for case in 0..cases {
            let mut bytes = originals[case as usize % originals.len()].clone();
            for _ in 0..1 + random.below(4) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = match random.below(4) {
                    0 => 0,
                    1 => 0xff,
                    2 => bytes[at] ^ (1 << random.below(8)),
                    _ => random.below(256) as u8,
                };
            }
            checksum::ignored(|| read(form, &bytes));
        }
    }

    fn original_seed(form: Form) -> u64 {
        form as u64 + 11
    }

    #[test]
    fn batches_that_nobody_wrote_are_survived() {
        survive(Form::Batch, &[batch()], 20_000);
    }

    #[test]
    fn logs_with_right_checksums_that_nobody_wrote_are_survived() {
        survive(Form::Log, &[log()], 500);
    }

    #[test]
    fn manifests_with_right_checksums_that_nobody_wrote_are_survived() {
        survive(Form::Manifest, &[manifest()], 5_000);
    }

    #[test]
    fn segments_with_right_checksums_that_nobody_wrote_are_survived() {
        let fixtures: [&[u8]; 3] = [
            include_bytes!("../tests/fixtures/segment-v1.seg"),
            include_bytes!("../tests/fixtures/segment-v2.seg"),
            include_bytes!("../tests/fixtures/segment-v3.seg"),
        ];
        survive(Form::Segment, &fixtures.map(<[u8]>::to_vec), 600);
    }
}
