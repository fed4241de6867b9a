//! A certificate with its key, and which of several a client is shown.

use super::rsa::RsaKey;
use anyhow::{Context, Result, bail};
use openssl::{
    asn1::Asn1Time,
    hash::MessageDigest,
    x509::{X509, X509Ref},
};
use rustls::{
    SignatureScheme,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A certificate with its key.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) key: Arc<CertifiedKey>,
    /// Seconds since the Unix epoch.
    pub(super) expires_s: i64,
    /// SHA-256 of the certificate.
    pub(super) fingerprint: String,
}

/// By what files are known to have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Vec<(u64, i64, i64)>);

impl Stamp {
    /// Of files as they are now; `None` where one is not there.
    pub(super) fn of(files: &[&PathBuf]) -> Option<Stamp> {
        let stamp = |file: &&PathBuf| {
            let metadata = fs::metadata(file).ok()?;
            Some((metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
        };
        files.iter().map(stamp).collect::<Option<_>>().map(Stamp)
    }
}

/// Reads a certificate with those between it and its authority, and its key.
///
/// # Errors
/// Files that cannot be read, hold something else, or do not belong together.
pub(super) fn read(cert: &Path, key: &Path) -> Result<Leaf> {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    const READABLE_BY_OTHERS: u32 = 0o044;
    let shown = key.display();
    let mode = fs::metadata(key).with_context(|| format!("cannot read the key {shown}"))?.mode();
    if mode & WRITABLE_BY_OTHERS != 0 {
        bail!("cannot use the key {shown}: others may write to it; chmod go-w it");
    }
    if mode & READABLE_BY_OTHERS != 0 {
        tracing::warn!(path = %shown, "others may read the key of the certificate");
    }
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
    let chain: Vec<CertificateDer<'static>> =
        chain.with_context(|| format!("cannot read the certificate {}", cert.display()))?;
    let private = PrivateKeyDer::from_pem_file(key);
    let private = private.with_context(|| format!("cannot read the key {shown}"))?;
    leaf(chain, private).with_context(|| format!("cannot use the certificate {}", cert.display()))
}

/// A certificate with its key, which have to belong together.
pub(super) fn leaf(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Leaf> {
    let Some(first) = chain.first() else { bail!("there is no certificate in it") };
    let read = X509::from_der(first).context("it is no certificate")?;
    let (expires_s, fingerprint) = (expires_s(&read)?, fingerprint(&read)?);
    let key = match RsaKey::of(&key) {
        Some(rsa) => {
            let certified = CertifiedKey::new(chain, Arc::new(rsa));
            certified.keys_match().map(|()| certified)
        }
        None => CertifiedKey::from_der(chain, key, &ring::default_provider()),
    };
    let key = key.context("the certificate and the key do not belong together")?;
    Ok(Leaf { key: Arc::new(key), expires_s, fingerprint })
}

/// When a certificate ends, seconds since the Unix epoch.
pub(super) fn expires_s(certificate: &X509Ref) -> Result<i64> {
    let left = Asn1Time::from_unix(0)?.diff(certificate.not_after())?;
    Ok(i64::from(left.days) * 86_400 + i64::from(left.secs))
}

fn fingerprint(certificate: &X509Ref) -> Result<String> {
    let digest = certificate.digest(MessageDigest::sha256())?;
    let bytes: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    Ok(bytes.join(":"))
}

/// Shows each client the first certificate that it can check.
#[derive(Debug)]
pub(super) struct Choice(Vec<Arc<CertifiedKey>>);

impl Choice {
    /// Of these, the best first.
    pub(super) fn of(leaves: &[Leaf]) -> Choice {
        Choice(leaves.iter().map(|leaf| leaf.key.clone()).collect())
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let suits = |key: &&Arc<CertifiedKey>| {
            key.key.choose_scheme(hello.signature_schemes()).is_some_and(|signer| {
                // Up to TLS 1.2 the suite names the kind of key as well.
                let is_ecdsa = matches!(
                    signer.scheme(),
                    SignatureScheme::ECDSA_NISTP256_SHA256 | SignatureScheme::ECDSA_NISTP384_SHA384
                );
                let fits = |suite: &rustls::CipherSuite| {
                    let name = format!("{suite:?}");
                    name.starts_with("TLS13_") || name.contains("_ECDSA_") == is_ecdsa
                };
                hello.cipher_suites().iter().any(fits)
            })
        };
        self.0.iter().find(suits).or_else(|| self.0.last()).cloned()
    }
}

/// What the system says, as an error of a file.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    const OWNER_ALONE: u32 = 0o600;
    let beside = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(OWNER_ALONE).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
