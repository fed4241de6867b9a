//! Bytes of logs: of every version, forged, torn and damaged.

use super::*;
use frame::{Format, FrameBuilder};

#[test]
fn files_of_every_version_stay_readable_and_go_on() {
    let fixtures = [
        &include_bytes!("../../../tests/fixtures/log-v1.log")[..],
        &include_bytes!("../../../tests/fixtures/log-v2.log")[..],
    ];
    for bytes in fixtures {
        let disk = SimDisk::new();
        crate::disk::create_dir_durably(&disk, Path::new(DIR)).unwrap();
        disk.put(&files::file_path(Path::new(DIR), 1), bytes.to_vec());
        let log = open(&disk).unwrap();
        let state = log.group(GroupId(7)).unwrap();
        assert_eq!(state.entries, 3..5);
        assert_eq!(state.vote.as_deref(), Some(&b"vote"[..]));
        assert_eq!(state.committed.as_deref(), Some(&b"committed"[..]));
        assert_eq!(state.purged, Some((2, b"mark"[..].into())));
        let read = log.read(GroupId(7), 4..5).unwrap();
        assert_eq!(read, [(4, b"entry 4"[..].into())]);
        assert_eq!(log.group(GroupId(8)), None);
        let op = Op::Append { first: 5, entries: vec![b"entry 5"[..].into()] };
        log.submit_and_wait(GroupId(7), op).unwrap();
        drop(log);
        let log = open(&disk).unwrap();
        assert_eq!(log.group(GroupId(7)).unwrap().entries, 3..6);
        assert_eq!(log.read(GroupId(7), 4..6).unwrap()[1], (5, b"entry 5"[..].into()));
    }
}

/// A log of this format whose last frame holds an entry that looks like later frames, torn
/// somewhere behind them.
fn torn_behind_a_forgery(format: Format, guess: Format) -> SimDisk {
    let append = |first, entry: Vec<u8>| Op::Append { first, entries: vec![entry.into()] };
    let mut forged = b"a text ".repeat(9);
    for sequence in 2..9 {
        let mut frame = FrameBuilder::new();
        frame.push(GroupId(1), &append(9, vec![1; 5]), |_, _, _| {});
        forged.extend_from_slice(frame.seal(sequence, guess));
    }
    forged.extend(b"and the rest of it".repeat(9));
    let mut bytes = Header { format, sequence: 1 }.encode(1);
    for (sequence, op) in [(1, Op::Vote(b"v"[..].into())), (2, append(0, forged))] {
        let mut frame = FrameBuilder::new();
        frame.push(GroupId(1), &op, |_, _, _| {});
        bytes.extend_from_slice(frame.seal(sequence, format));
    }
    let disk = SimDisk::new();
    crate::disk::create_dir_durably(&disk, Path::new(DIR)).unwrap();
    disk.put(&files::file_path(Path::new(DIR), 1), bytes[..bytes.len() - 9].to_vec());
    disk
}

#[test]
fn a_text_that_looks_like_frames_does_not_make_a_torn_write_look_like_damage() {
    // Without a salt it does.
    let disk = torn_behind_a_forgery(Format::Plain, Format::Plain);
    assert!(matches!(open(&disk), Err(Error::Corrupt { .. })));
    for guess in [Format::Plain, Format::Salted(0), Format::Salted(6)] {
        let disk = torn_behind_a_forgery(Format::Salted(7), guess);
        let log = open(&disk).unwrap();
        let state = log.group(GroupId(1)).unwrap();
        assert_eq!((state.vote.as_deref(), state.entries), (Some(&b"v"[..]), 0..0));
        let op = Op::Append { first: 0, entries: vec![vec![2; 5].into()] };
        log.submit_and_wait(GroupId(1), op).unwrap();
        drop(log);
        assert_eq!(open(&disk).unwrap().group(GroupId(1)).unwrap().entries, 0..1);
    }
}

/// Makes the fixture of the test above: `cargo test -p oribi-store make_log_fixture -- --ignored`.
#[test]
#[ignore = "writes the fixture of a new format version"]
fn make_log_fixture() {
    let disk = SimDisk::new();
    let log = Log::open(Arc::new(disk.clone()), DIR.into(), LogOptions::default()).unwrap();
    let entry = |index: u64| -> Arc<[u8]> { format!("entry {index}").as_bytes().into() };
    let (seven, eight) = (GroupId(7), GroupId(8));
    let ops = [
        (seven, Op::Vote(b"vote"[..].into())),
        (seven, Op::Append { first: 0, entries: (0..7).map(entry).collect() }),
        (eight, Op::Append { first: 1, entries: vec![entry(1)] }),
        (seven, Op::Truncate { from: 5 }),
        (seven, Op::Committed(b"committed"[..].into())),
        (seven, Op::Purge { upto: 2, mark: b"mark"[..].into() }),
        (eight, Op::Forget { tombstone: None }),
    ];
    for (group, op) in ops {
        log.submit(group, op, Box::new(|outcome| outcome.unwrap()));
    }
    drop(log);
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let path = format!("{fixtures}/log-v{}.log", frame::FORMAT_VERSION);
    let mut bytes = disk.bytes(&files::file_path(Path::new(DIR), 1)).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 9;
    bytes.truncate(end);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_check_counts_what_can_be_read_behind_damage_and_a_cut_gives_what_is_before() {
    let good = SimDisk::new();
    let log = open(&good).unwrap();
    let dir = Path::new(DIR);
    assert_eq!(check(Arc::new(good.clone()), dir).unwrap(), None);
    for first in 0..20 {
        let entries = vec![vec![first as u8; 100].into()];
        log.submit_and_wait(GroupId(1), Op::Append { first, entries }).unwrap();
    }
    drop(log);
    let of_file = |number| good.bytes(&files::file_path(dir, number)).unwrap();
    let files: Vec<u64> =
        (1..).take_while(|at| good.list(dir).unwrap().len() as u64 >= *at).collect();
    assert!(files.len() > 3);
    let frames = |bytes: &[u8]| memchr::memmem::find_iter(bytes, b"FRM2").collect::<Vec<_>>();
    // In a file: 0 is its header, the others its frames.
    for (number, place) in [(2, 0), (2, 1), (2, 2), (3, 3)] {
        let mut bytes = of_file(number);
        let starts = frames(&bytes);
        let (at, offset) = match place {
            0 => (13, 0),
            place => (starts[place - 1] + 17, starts[place - 1]),
        };
        // Where the first frame is damaged, the file as a whole does not begin as it should.
        let offset = if place == 1 { 0 } else { offset };
        bytes[at] ^= 1;
        let disk = good.reboot(0);
        disk.put(&files::file_path(dir, number), bytes.clone());
        let operations = disk.operations();
        let found = check(Arc::new(disk.clone()), dir).unwrap().unwrap();
        assert_eq!(disk.operations(), operations);
        assert_eq!((&found.path, found.offset), (&files::file_path(dir, number), offset as u64));
        let all: usize =
            files.iter().filter(|at| **at >= number).map(|at| frames(&of_file(*at)).len()).sum();
        let lost = place.max(1) - usize::from(place == 0);
        assert_eq!(found.frames_behind, (all - lost) as u64, "file {number}, place {place}");
        assert!(matches!(open(&disk), Err(Error::Corrupt { .. })));
        // An operator who does without what is behind cuts the file there and moves later ones.
        let before =
            files.iter().filter(|at| **at < number).map(|at| frames(&of_file(*at)).len() - 1);
        let kept = before.sum::<usize>() + place.saturating_sub(2);
        bytes.truncate(offset);
        disk.put(&files::file_path(dir, number), bytes);
        for later in files.iter().filter(|at| **at > number) {
            disk.remove(&files::file_path(dir, *later)).unwrap();
        }
        let log = open(&disk).unwrap();
        assert_eq!(log.group(GroupId(1)).unwrap().entries, 0..kept as u64);
        let op = Op::Append { first: kept as u64, entries: vec![vec![1; 100].into()] };
        log.submit_and_wait(GroupId(1), op).unwrap();
    }
}
