//! A bucket of an S3-compatible store as a vault. Where it is and who asks stands in the environment, by the
//! names that the tools of S3 use.

mod http;

use super::vault::Vault;
use anyhow::{Context, Result, anyhow};
use futures::TryStreamExt;
use object_store::{
    ObjectStore, ObjectStoreExt,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    path::Path,
};
use std::{
    io::{self, Read},
    sync::Arc,
};
use tokio::runtime::Runtime;

/// Bytes of a part: what is sent or asked for at once. All parts but the last must be as long.
const PART_BYTES: usize = 8 << 20;

pub(super) struct Bucket {
    store: Arc<AmazonS3>,
    runtime: Arc<Runtime>,
    place: String,
    /// Below which all names are.
    prefix: Path,
}

impl Bucket {
    /// The bucket of `s3://BUCKET/PREFIX`.
    ///
    /// # Errors
    /// An address that is none, or an environment that says too little.
    pub(super) fn open(place: &str) -> Result<Bucket> {
        let rest = place.strip_prefix("s3://").unwrap_or(place);
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = Path::parse(prefix.trim_matches('/'))
            .with_context(|| format!("cannot keep backups in {place:?}"))?;
        let builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            // Files go one by one, which every store can do.
            .with_disable_bulk_delete(true)
            .with_http_connector(http::Connector);
        // Whoever names a store without encryption wants it so.
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
        let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        let store = builder.with_allow_http(is_plain).build();
        let store = Arc::new(store.with_context(|| format!("cannot use {place:?}"))?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = Arc::new(runtime.context("cannot start a runtime")?);
        Ok(Bucket { store, runtime, place: place.to_owned(), prefix })
    }

    fn path(&self, name: &str) -> Result<Path> {
        let joined = [self.prefix.as_ref(), name];
        let joined: Vec<&str> = joined.into_iter().filter(|part| !part.is_empty()).collect();
        Path::parse(joined.join("/")).with_context(|| format!("{name:?} is no name of a file"))
    }

    fn put_parts(&self, path: &Path, first: Vec<u8>, content: &mut dyn Read) -> Result<()> {
        let mut upload = self.runtime.block_on(self.store.put_multipart(path))?;
        let mut part = first;
        let sent = loop {
            if part.is_empty() {
                break Ok(());
            }
            let sending = upload.put_part(part.into());
            if let Err(error) = self.runtime.block_on(sending) {
                break Err(anyhow!(error));
            }
            match next_part(content) {
                Ok(next) => part = next,
                Err(error) => break Err(anyhow!(error)),
            }
        };
        match sent {
            Ok(()) => self.runtime.block_on(upload.complete()).map(drop).map_err(Into::into),
            Err(error) => {
                // The store removes what is left of it, if it is told to.
                let _ = self.runtime.block_on(upload.abort());
                Err(error)
            }
        }
    }
}

impl Vault for Bucket {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let below = self.path(folder)?;
        let listing = self.store.list(Some(&below).filter(|below| !below.as_ref().is_empty()));
        let found: Vec<_> = self
            .runtime
            .block_on(listing.try_collect())
            .with_context(|| format!("cannot list {}", self.place))?;
        let own = self.prefix.as_ref();
        let name = |meta: object_store::ObjectMeta| {
            let rest = meta.location.as_ref().strip_prefix(own)?;
            Some(rest.trim_start_matches('/').to_owned())
        };
        Ok(found.into_iter().filter_map(name).collect())
    }

    fn bytes_of(&self, name: &str) -> Result<Option<u64>> {
        match self.runtime.block_on(self.store.head(&self.path(name)?)) {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot look at {name}")),
        }
    }

    fn put(&self, name: &str, content: &mut dyn Read) -> Result<()> {
        let path = self.path(name)?;
        let mut put = || {
            let first = next_part(content)?;
            if first.len() == PART_BYTES {
                return self.put_parts(&path, first, content);
            }
            self.runtime.block_on(self.store.put(&path, first.into()))?;
            Ok(())
        };
        put().with_context(|| format!("cannot write {name} in {}", self.place))
    }

    fn get(&self, name: &str) -> Result<Box<dyn Read>> {
        let path = self.path(name)?;
        let bytes = self.bytes_of(name)?;
        let bytes = bytes.with_context(|| format!("there is no {name} in {}", self.place))?;
        let (store, runtime) = (self.store.clone(), self.runtime.clone());
        Ok(Box::new(Object { store, runtime, path, bytes, next: 0, part: Vec::new().into() }))
    }

    fn remove(&self, name: &str) -> Result<()> {
        let removed = self.runtime.block_on(self.store.delete(&self.path(name)?));
        removed.with_context(|| format!("cannot remove {name} in {}", self.place))
    }
}

fn next_part(content: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut part = Vec::with_capacity(PART_BYTES);
    content.take(PART_BYTES as u64).read_to_end(&mut part)?;
    Ok(part)
}

/// A file that is read part by part.
struct Object {
    store: Arc<AmazonS3>,
    runtime: Arc<Runtime>,
    path: Path,
    bytes: u64,
    /// Where the next part begins.
    next: u64,
    part: bytes::Bytes,
}

impl Read for Object {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.part.is_empty() && self.next < self.bytes {
            let end = self.bytes.min(self.next + PART_BYTES as u64);
            let asked = self.store.get_range(&self.path, self.next..end);
            self.part = self.runtime.block_on(asked).map_err(io::Error::other)?;
            self.next = end;
        }
        let count = into.len().min(self.part.len());
        into[..count].copy_from_slice(&self.part.split_to(count));
        Ok(count)
    }
}
