//! A folder of this machine as a vault.

use super::vault::Vault;
use anyhow::{Context, Result};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

pub(super) struct Folder {
    root: PathBuf,
}

/// Begins the name of a file that is not whole.
const UNFINISHED: &str = ".unfinished-";

impl Folder {
    pub(super) fn new(root: &str) -> Folder {
        Folder { root: PathBuf::from(root) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

impl Vault for Folder {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let (mut names, mut folders) = (Vec::new(), vec![PathBuf::from(folder)]);
        while let Some(folder) = folders.pop() {
            let dir = self.root.join(&folder);
            let entries = match fs::read_dir(&dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.with_context(|| format!("cannot list {}", dir.display()))?,
            };
            for entry in entries {
                let entry = entry.with_context(|| format!("cannot list {}", dir.display()))?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let below = folder.join(&name);
                if entry.path().is_dir() {
                    folders.push(below);
                } else if let Some(below) = below.to_str()
                    && !name.starts_with(UNFINISHED)
                {
                    names.push(below.to_owned());
                }
            }
        }
        Ok(names)
    }

    fn bytes_of(&self, name: &str) -> Result<Option<u64>> {
        match fs::metadata(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => {
                let found = found.with_context(|| format!("cannot look at {name}"))?;
                Ok(Some(found.len()))
            }
        }
    }

    fn put(&self, name: &str, content: &mut dyn Read) -> Result<()> {
        let path = self.path(name);
        let cannot = || format!("cannot write {}", path.display());
        let dir = path.parent().unwrap_or(&self.root);
        let last = path.file_name().and_then(|last| last.to_str()).unwrap_or_default();
        let unfinished = dir.join(format!("{UNFINISHED}{last}"));
        make_durably(dir).with_context(cannot)?;
        let written = write(&unfinished, content).and_then(|()| fs::rename(&unfinished, &path));
        if written.is_err() {
            // What is left of it is in nobody's way.
            let _ = fs::remove_file(&unfinished);
        }
        written.with_context(cannot)?;
        sync_dir(dir).with_context(cannot)
    }

    fn get(&self, name: &str) -> Result<Box<dyn Read>> {
        let path = self.path(name);
        let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Box::new(file))
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }
}

fn write(path: &Path, content: &mut dyn Read) -> io::Result<()> {
    const PIECE_BYTES: usize = 1 << 20;
    let (mut file, mut piece) = (File::create(path)?, vec![0; PIECE_BYTES]);
    loop {
        match content.read(&mut piece) {
            Ok(0) => return file.sync_all(),
            Ok(count) => file.write_all(&piece[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes a folder and those that it is in, so that a power cut does not take them.
fn make_durably(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_durably(parent)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_dir(parent.unwrap_or(Path::new(".")))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks off after its first bytes.
    struct Broken(bool);

    impl Read for Broken {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                return Err(io::Error::other("the line is dead"));
            }
            into[..3].copy_from_slice(b"abc");
            Ok(3)
        }
    }

    #[test]
    fn files_are_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("a/b");
        let vault = Folder::new(place.to_str().unwrap());
        assert_eq!(vault.list("").unwrap(), Vec::<String>::new());
        vault.put("tablets/1/x", &mut &b"hello"[..]).unwrap();
        assert!(vault.put("tablets/1/y", &mut Broken(false)).is_err());
        assert_eq!(vault.list("tablets").unwrap(), ["tablets/1/x"]);
        assert_eq!(vault.bytes_of("tablets/1/x").unwrap(), Some(5));
        assert_eq!(vault.bytes_of("tablets/1/y").unwrap(), None);
        let mut read = String::new();
        vault.get("tablets/1/x").unwrap().read_to_string(&mut read).unwrap();
        assert_eq!(read, "hello");
        vault.remove("tablets/1/x").unwrap();
        assert!(vault.get("tablets/1/x").is_err());
    }
}
