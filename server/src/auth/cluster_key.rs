//! The key under which the cluster keeps secrets, and what is sealed with it.

use super::private::{self, BadPrivate};
use crate::config::SecretsOptions;
use anyhow::{Context, Result, anyhow, bail};
use futures::future::BoxFuture;
use oribi_cluster::{
    Change, Node,
    secured::{ClusterKey, JoinPass, KeyHolder, Unopened},
};
use oribi_connectors::connector::{Closed, Vault};
use std::{io::ErrorKind, path::Path, sync::Arc, time::Duration};

/// How long somebody who brings a secret waits for the key.
const KEY_WAIT: Duration = Duration::from_secs(5);
const NO_KEY_YET: &str = "the cluster key is not here yet; it comes from the other nodes";

/// The key as far as this node has it: that of the file which the configuration names, or one that comes
/// from the cluster and is kept in the data directory.
///
/// # Errors
/// A file that cannot be read, that others may write to, or that holds no key.
pub(crate) fn open_cluster_key(options: &SecretsOptions, data_dir: &Path) -> Result<KeyHolder> {
    let own = data_dir.join("cluster.key");
    let path = options.key_file.as_deref().unwrap_or(&own);
    let wrong = || format!("cannot use the cluster key {}", path.display());
    let kept = match private::read(path) {
        Ok((_, held)) => {
            let text = str::from_utf8(&held).unwrap_or_default();
            Some(ClusterKey::from_text(text).with_context(wrong)?)
        }
        // What is wrong with the directory itself, whoever opens that says.
        Err(BadPrivate::Io(error))
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
        {
            None
        }
        Err(bad) => return Err(anyhow!(bad)).with_context(wrong),
    };
    match (&options.key_file, kept) {
        (Some(_), Some(key)) => Ok(KeyHolder::given(key)),
        (Some(_), None) => Err(anyhow!("there is no such file")).with_context(wrong),
        (None, kept) => Ok(KeyHolder::keeping(kept, move |key| {
            private::write(&own, format!("{}\n", key.to_text()).as_bytes())
        })),
    }
}

/// Seals with the key of the cluster.
pub(crate) struct ClusterVault {
    node: Arc<Node>,
    holder: Arc<KeyHolder>,
}

impl ClusterVault {
    /// With the key that `holder` has, or will have.
    pub(crate) fn new(node: Arc<Node>, holder: Arc<KeyHolder>) -> ClusterVault {
        ClusterVault { node, holder }
    }

    /// The key, where it is the one that the cluster has agreed on, or it has not agreed on any.
    fn key(&self) -> Option<ClusterKey> {
        let named = self.node.catalog().cluster_key();
        self.holder.held().filter(|held| named.is_none_or(|named| named == held.id()))
    }

    /// A secret by which nodes may join until a time, s since the Unix epoch; every node will know it.
    ///
    /// # Errors
    /// The cluster agrees on no key now, or the one that was given to this node is another one.
    pub(crate) async fn join_pass(&self, until_s: u64) -> Result<JoinPass> {
        let agreed = tokio::time::timeout(KEY_WAIT, self.agree()).await;
        agreed.map_err(|_| anyhow!(NO_KEY_YET))??;
        let key = self.key().ok_or_else(|| anyhow!(NO_KEY_YET))?;
        Ok(JoinPass::new(&key, until_s))
    }

    /// Has the cluster agree on a key, and waits for it.
    async fn agree(&self) -> Result<()> {
        let mut held = self.holder.watch();
        loop {
            let changed = self.node.catalog_changed();
            held.mark_unchanged();
            match (self.node.catalog().cluster_key(), self.key()) {
                (Some(_), Some(_)) => return Ok(()),
                (None, Some(key)) => {
                    let named = Change::NameClusterKey { id: key.id(), instead_of: None };
                    match self.node.change(named).await {
                        // Another one was named meanwhile: the next look waits for that one.
                        Err(error) if self.node.catalog().cluster_key().is_none() => {
                            return Err(error.into());
                        }
                        Ok(_) | Err(_) => continue,
                    }
                }
                (Some(_), None) if self.holder.is_given() => {
                    bail!("secrets.key_file holds another key than secrets are sealed with")
                }
                (_, None) => {}
            }
            tokio::select! {
                () = changed => {}
                _ = held.changed() => {}
            }
        }
    }
}

impl Vault for ClusterVault {
    fn ready(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            match tokio::time::timeout(KEY_WAIT, self.agree()).await {
                Ok(agreed) => {
                    agreed.map_err(|wrong| format!("its secrets cannot be sealed: {wrong:#}"))
                }
                Err(_) => Err(format!("its secrets cannot be sealed: {NO_KEY_YET}")),
            }
        })
    }

    fn seal(&self, place: &str, secret: &str) -> Result<String, String> {
        let key = self.key().ok_or("the cluster key is not here")?;
        key.seal(place, secret).map_err(|wrong| wrong.to_string())
    }

    fn open(&self, place: &str, sealed: &str) -> Result<String, Closed> {
        // One from outside stays the one, whatever the cluster has agreed on.
        let given = self.holder.held().filter(|_| self.holder.is_given());
        let key = given.or_else(|| self.key());
        let key = key.ok_or_else(|| Closed::Yet("it waits for the cluster key".into()))?;
        key.open(place, sealed).map_err(|why| match why {
            Unopened::OtherKey(_) | Unopened::Damaged => Closed::ForGood(why.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt},
    };

    #[test]
    fn a_key_is_kept_for_its_owner_alone_and_one_from_outside_has_to_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let (path, key) = (dir.path().join("cluster.key"), ClusterKey::generate().unwrap());
        let own = open_cluster_key(&SecretsOptions::default(), dir.path()).unwrap();
        assert_eq!(own.held(), None);
        own.hold(key.clone()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = open_cluster_key(&SecretsOptions::default(), dir.path()).unwrap();
        assert_eq!((again.held(), again.is_given()), (Some(key), false));

        let outside = dir.path().join("outside.key");
        let options = SecretsOptions { key_file: Some(outside.clone()) };
        let refusal = || format!("{:#}", open_cluster_key(&options, dir.path()).unwrap_err());
        assert!(refusal().contains("outside.key"), "{}", refusal());
        fs::write(&outside, "short").unwrap();
        assert!(refusal().contains("64 hexadecimal digits"), "{}", refusal());
        fs::copy(&path, &outside).unwrap();
        assert!(open_cluster_key(&options, dir.path()).unwrap().is_given());
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(refusal().contains("chmod"), "{}", refusal());
    }
}
