//! The token with all rights that a file of the node holds: how the first token comes to be, and how
//! a lost one is replaced. Who can write the file can read all data anyway.

use super::private::{self, BadPrivate};
use arc_swap::ArcSwapOption;
use oribi_access::{BadSecret, Digest, SECRET_CHARS, Secret};
use std::{
    fs::{self, Metadata},
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// The file, looked at again whenever it changes.
#[derive(Debug)]
pub(crate) struct AdminFile {
    path: Option<PathBuf>,
    found: ArcSwapOption<Found>,
    generation: AtomicU64,
}

#[derive(Debug, PartialEq, Eq)]
struct Found {
    stamp: Stamp,
    /// `None`: it holds no token that can be used.
    digest: Option<Digest>,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadFile {
    /// It cannot be read, or should not be believed.
    #[error(transparent)]
    File(#[from] BadPrivate),
    /// What it holds is no token.
    #[error("its first line is no token of at least {SECRET_CHARS} characters")]
    Short,
}

impl AdminFile {
    /// The file at `path`, read as it is now; `None` is no file at all.
    ///
    /// # Errors
    /// A file that is there and cannot be used.
    pub(crate) fn open(path: Option<PathBuf>) -> Result<AdminFile, BadFile> {
        let file = AdminFile {
            path: path.clone(),
            found: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
        };
        if let Some(path) = path {
            match read(&path) {
                Ok((stamp, digest)) => file.note(Some(Found { stamp, digest: Some(digest) })),
                Err(BadFile::File(BadPrivate::Io(wrong))) if is_absence(&wrong) => {}
                Err(wrong) => return Err(wrong),
            }
        }
        Ok(file)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether it holds this secret.
    pub(crate) fn holds(&self, digest: &Digest) -> bool {
        self.found.load().as_ref().is_some_and(|found| found.digest.as_ref() == Some(digest))
    }

    /// Whether it holds any.
    pub(crate) fn holds_one(&self) -> bool {
        self.found.load().as_ref().is_some_and(|found| found.digest.is_some())
    }

    /// Grows whenever the file changes.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Reads the file again where it has changed.
    pub(crate) fn look(&self) {
        let Some(path) = &self.path else { return };
        let stamp = fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
        if stamp == self.found.load().as_ref().map(|found| found.stamp) {
            return;
        }
        let found = match read(path) {
            Ok((stamp, digest)) => Some(Found { stamp, digest: Some(digest) }),
            Err(wrong) => {
                let path = path.display();
                tracing::warn!(%path, "the admin token file is not used: {wrong}");
                stamp.map(|stamp| Found { stamp, digest: None })
            }
        };
        self.note(found);
    }

    fn note(&self, found: Option<Found>) {
        self.found.store(found.map(Into::into));
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}

/// Whether there is no file. What is wrong with its folder is for who opens that to say.
fn is_absence(wrong: &io::Error) -> bool {
    matches!(wrong.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            inode: metadata.ino(),
            bytes: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

fn read(path: &Path) -> Result<(Stamp, Digest), BadFile> {
    let (metadata, text) = private::read(path)?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let short = |_: BadSecret| BadFile::Short;
    Ok((Stamp::of(&metadata), Digest::of_shown(line.trim_ascii()).map_err(short)?))
}

/// Writes a new secret into the file, which takes the place of one that is there.
///
/// # Errors
/// What the system refuses.
pub(crate) fn write_new(path: &Path) -> io::Result<()> {
    let secret = Secret::make().ok_or_else(|| io::Error::other("there are no random bytes"))?;
    private::write(path, format!("{}\n", secret.as_str()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::tempdir;

    fn digest(path: &Path) -> Digest {
        Digest::of_shown(fs::read_to_string(path).unwrap().trim().as_bytes()).unwrap()
    }

    #[test]
    fn a_new_secret_holds_as_soon_as_it_is_seen_and_the_old_one_no_longer() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("admin.token");
        let file = AdminFile::open(Some(path.clone())).unwrap();
        assert!(!file.holds_one());
        write_new(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        file.look();
        let first = digest(&path);
        assert!(file.holds(&first));
        let generation = file.generation();
        file.look();
        assert_eq!(file.generation(), generation);
        write_new(&path).unwrap();
        file.look();
        assert!(file.holds(&digest(&path)) && !file.holds(&first));
        fs::remove_file(&path).unwrap();
        file.look();
        assert!(!file.holds_one() && file.generation() > generation);
    }

    #[test]
    fn a_file_that_anybody_may_write_or_that_is_short_is_refused() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("admin.token");
        fs::write(&path, "secret\n").unwrap();
        assert!(matches!(AdminFile::open(Some(path.clone())), Err(BadFile::Short)));
        fs::write(&path, "x".repeat(30)).unwrap();
        assert!(AdminFile::open(Some(path.clone())).unwrap().holds_one());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(
            AdminFile::open(Some(path.clone())),
            Err(BadFile::File(BadPrivate::Writable))
        ));
        assert!(!AdminFile::open(None).unwrap().holds_one());
    }
}
