//! What makes a node known to the others: its own key, and the secret of its cluster.

use super::private::{self, BadPrivate};
use anyhow::{Context, Result, anyhow};
use oribi_cluster::secured::{JoinSecret, NodeKey};
use std::{io::ErrorKind, path::Path};

/// The key of a node, made where there is none yet.
///
/// # Errors
/// A file that cannot be read or written, or holds no key.
pub(crate) fn open_node_key(path: &Path) -> Result<NodeKey> {
    let wrong = || format!("cannot use the key of the node, {}", path.display());
    match private::read(path) {
        Ok((_, pem)) => NodeKey::from_pem(&pem).with_context(wrong),
        Err(BadPrivate::Io(error)) if error.kind() == ErrorKind::NotFound => {
            let key = NodeKey::generate()?;
            private::write(path, &key.to_pem()?).with_context(wrong)?;
            Ok(key)
        }
        Err(bad) => Err(anyhow!(bad)).with_context(wrong),
    }
}

/// The secret that a file holds.
///
/// # Errors
/// A file that cannot be read, that others may write to, or whose secret could be guessed.
pub(crate) fn read_join_secret(path: &Path) -> Result<JoinSecret> {
    let wrong = || format!("cannot use --join-secret-file {}", path.display());
    let (_, held) = private::read(path).with_context(wrong)?;
    let text = str::from_utf8(&held).map_err(|_| anyhow!("it is not text")).with_context(wrong)?;
    JoinSecret::new(text).with_context(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt},
    };
    use tempfile::tempdir;

    #[test]
    fn a_node_keeps_the_key_that_was_made_first() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("node.key");
        let made = open_node_key(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(open_node_key(&path).unwrap().pin(), made.pin());
        fs::write(&path, "no key").unwrap();
        let refused = format!("{:#}", open_node_key(&path).unwrap_err());
        assert!(refused.contains("node.key"), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), b"no key");
    }

    #[test]
    fn a_secret_that_could_be_guessed_or_written_is_refused() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("join.secret");
        let refusal = |text: &str| {
            fs::write(&path, text).unwrap();
            read_join_secret(&path).map_err(|wrong| format!("{wrong:#}")).err()
        };
        assert_eq!(refusal(&format!("{}\n", "0f".repeat(16))), None);
        assert_eq!(refusal("AVeryLongPassPhraseOf27Char"), None);
        for short in ["", "secret\n", &"7".repeat(38), &"0f".repeat(15)] {
            assert!(refusal(short).unwrap().contains("expected at least"), "{short}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(refusal(&"0f".repeat(16)).unwrap().contains("chmod"));
        assert!(
            format!("{:#}", read_join_secret(&dir.path().join("none")).unwrap_err())
                .contains("none")
        );
    }
}
