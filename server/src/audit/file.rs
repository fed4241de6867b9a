//! Lines in files of a bounded size and number: `audit.jsonl` is written to, `audit.jsonl.1` was before
//! that, and so on.

use parking_lot::Mutex;
use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};
use serde_json::Value;
use std::{
    collections::VecDeque,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const NAME: &str = "audit.jsonl";
const OWNER_ALONE: u32 = 0o600;
const FOLDER_OWNER_ALONE: u32 = 0o700;
/// What is there for a change that is about to be made, bytes; a line is far shorter.
const ROOM_BYTES: u64 = 64 << 10;
/// A longer line is none of ours.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// The files of a folder.
#[derive(Debug)]
pub(super) struct Lines {
    dir: PathBuf,
    bytes_max: u64,
    files_max: u32,
    open: Mutex<Option<Open>>,
}

/// The file that is written to.
#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
    /// Up to where the disk has room for it.
    reserved: u64,
}

impl Lines {
    /// At most `files_max` files of at most `bytes_max` bytes each.
    pub(super) fn new(dir: &Path, bytes_max: u64, files_max: u32) -> Lines {
        Lines { dir: dir.to_owned(), bytes_max, files_max, open: Mutex::new(None) }
    }

    /// Makes sure that a line finds room.
    ///
    /// # Errors
    /// It would not.
    pub(super) fn reserve(&self) -> io::Result<()> {
        let mut open = self.open.lock();
        let open = self.opened(&mut open)?;
        if open.bytes + ROOM_BYTES / 4 <= open.reserved {
            return Ok(());
        }
        match fallocate(&open.file, FallocateFlags::KEEP_SIZE, open.bytes, ROOM_BYTES) {
            Ok(()) => open.reserved = open.bytes + ROOM_BYTES,
            // Not every file system can; the line itself will tell.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(wrong) => return Err(wrong.into()),
        }
        Ok(())
    }

    /// Appends a line; it is on the disk once this returns.
    ///
    /// # Errors
    /// It is not there, or not whole.
    pub(super) fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut open = self.open.lock();
        let added = line.len() as u64 + 1;
        if self.opened(&mut open)?.bytes + added > self.bytes_max {
            self.turn(&mut open)?;
        }
        let now = self.opened(&mut open)?;
        let whole = [line, b"\n"].concat();
        if let Err(wrong) = now.file.write_all(&whole).and_then(|()| now.file.sync_data()) {
            // Opened anew, what is cut is ended.
            *open = None;
            return Err(wrong);
        }
        now.bytes += added;
        Ok(())
    }

    /// The newest lines, oldest first: at most `limit`, none of a time before `since`.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn newest(&self, since: &str, limit: usize) -> io::Result<Vec<Value>> {
        let mut found: VecDeque<Value> = VecDeque::new();
        for number in 0..self.files_max {
            let file = match File::open(self.path(number)) {
                Ok(file) => file,
                Err(wrong) if wrong.kind() == ErrorKind::NotFound => break,
                Err(wrong) => return Err(wrong),
            };
            let left = limit - found.len();
            let mut of_file: VecDeque<Value> = VecDeque::new();
            let mut reader = BufReader::new(file);
            let (mut line, mut has_older) = (Vec::new(), false);
            loop {
                line.clear();
                if (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
                    break;
                }
                // What a power cut has left of a line says nothing.
                let Ok(entry) = serde_json::from_slice::<Value>(&line) else { continue };
                if entry["time"].as_str().unwrap_or_default() < since {
                    has_older = true;
                    continue;
                }
                of_file.push_back(entry);
                if of_file.len() > left {
                    of_file.pop_front();
                }
            }
            of_file.into_iter().rev().for_each(|entry| found.push_front(entry));
            if has_older || found.len() >= limit {
                break;
            }
        }
        Ok(found.into())
    }

    fn opened<'a>(&self, open: &'a mut Option<Open>) -> io::Result<&'a mut Open> {
        if open.is_none() {
            DirBuilder::new().recursive(true).mode(FOLDER_OWNER_ALONE).create(&self.dir)?;
            let mut options = OpenOptions::new();
            options.read(true).append(true).create(true).mode(OWNER_ALONE);
            let mut file = options.open(self.path(0))?;
            let mut bytes = file.seek(SeekFrom::End(0))?;
            if bytes > 0 {
                let mut last = [0];
                file.seek(SeekFrom::End(-1))?;
                file.read_exact(&mut last)?;
                if last != *b"\n" {
                    file.write_all(b"\n")?;
                    bytes += 1;
                }
            }
            File::open(&self.dir)?.sync_all()?;
            *open = Some(Open { file, bytes, reserved: 0 });
        }
        open.as_mut().ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Begins a new file; the oldest goes.
    fn turn(&self, open: &mut Option<Open>) -> io::Result<()> {
        if let Some(full) = open.take() {
            // Gives back what was reserved beyond its end.
            full.file.set_len(full.bytes)?;
        }
        for number in (0..self.files_max.saturating_sub(1)).rev() {
            match fs::rename(self.path(number), self.path(number + 1)) {
                Err(wrong) if wrong.kind() != ErrorKind::NotFound => return Err(wrong),
                _ => {}
            }
        }
        if self.files_max == 1 {
            fs::remove_file(self.path(0))?;
        }
        Ok(())
    }

    fn path(&self, number: u32) -> PathBuf {
        match number {
            0 => self.dir.join(NAME),
            number => self.dir.join(format!("{NAME}.{number}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::tempdir;

    fn line(at: u32) -> Vec<u8> {
        format!("{{\"time\":\"2026-01-01T00:00:{at:02}Z\",\"at\":{at}}}").into_bytes()
    }

    fn numbers(lines: &Lines, since: &str, limit: usize) -> Vec<u64> {
        let found = lines.newest(since, limit).unwrap();
        found.iter().map(|entry| entry["at"].as_u64().unwrap()).collect()
    }

    #[test]
    fn files_are_bounded_in_size_and_number_and_the_oldest_lines_go() {
        for files_max in [1, 3] {
            let dir = tempdir().unwrap();
            let dir = dir.path().join("audit");
            let bytes_max = 3 * (line(0).len() as u64 + 1);
            let lines = Lines::new(&dir, bytes_max, files_max);
            for at in 10..31 {
                lines.reserve().unwrap();
                lines.append(&line(at)).unwrap();
            }
            let names: Vec<_> = fs::read_dir(&dir).unwrap().map(Result::unwrap).collect();
            assert_eq!(names.len(), files_max as usize);
            for entry in &names {
                let metadata = entry.metadata().unwrap();
                assert!(metadata.len() <= bytes_max);
                assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
            }
            let kept = numbers(&lines, "", 100);
            assert_eq!(kept, (31 - 3 * u64::from(files_max)..31).collect::<Vec<_>>());
            assert_eq!(numbers(&lines, "", 2), [29, 30]);
            assert_eq!(numbers(&lines, "2026-01-01T00:00:30Z", 100), [30]);
        }
    }

    #[test]
    fn what_a_power_cut_has_left_of_a_line_harms_no_other() {
        let dir = tempdir().unwrap();
        let lines = Lines::new(dir.path(), 1 << 20, 2);
        lines.append(&line(1)).unwrap();
        fs::OpenOptions::new()
            .append(true)
            .open(dir.path().join(NAME))
            .and_then(|mut file| file.write_all(b"{\"time\":\"20"))
            .unwrap();
        let again = Lines::new(dir.path(), 1 << 20, 2);
        again.append(&line(2)).unwrap();
        assert_eq!(numbers(&again, "", 10), [1, 2]);
    }

    #[test]
    fn what_cannot_be_written_is_told_before_anything_is_changed() {
        let dir = tempdir().unwrap();
        let in_the_way = dir.path().join("audit");
        fs::write(&in_the_way, "a file").unwrap();
        let lines = Lines::new(&in_the_way, 1 << 20, 2);
        assert!(lines.reserve().is_err() && lines.append(&line(1)).is_err());
    }
}
