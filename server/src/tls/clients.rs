//! Certificates of clients: who may vouch for them, which are revoked, and whom each names.

use crate::config::{ClientCertificates, TlsOptions};
use anyhow::{Context, Result, bail};
use openssl::{
    nid::Nid,
    sha::sha256,
    x509::{X509, X509Crl, X509NameRef},
};
use oribi_access::Certificate;
use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use std::{collections::HashSet, path::Path, sync::Arc};

/// What is asked of clients.
pub(super) struct Clients {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    revoked: Revoked,
}

/// Certificates that are revoked: SHA-256 of the name of the authority, and the number that it gave.
#[derive(Debug, Default)]
pub(super) struct Revoked(HashSet<([u8; 32], Vec<u8>)>);

impl Revoked {
    pub(super) fn has(&self, certificate: &Certificate) -> bool {
        self.0.contains(&(certificate.issuer, certificate.serial.clone()))
    }
}

impl Clients {
    /// As the options want it; `None` where clients are not asked for certificates.
    ///
    /// # Errors
    /// Files that cannot be read or hold something else.
    pub(super) fn read(options: &TlsOptions) -> Result<Option<Clients>> {
        let (Some(authorities), true) =
            (&options.client_ca_file, options.client_certificates != ClientCertificates::Off)
        else {
            return Ok(None);
        };
        let shown = authorities.display();
        let roots = roots(authorities)
            .with_context(|| format!("cannot use the authorities of clients {shown}"))?;
        let lists = match &options.client_crl_file {
            Some(path) => lists(path).with_context(|| {
                format!("cannot use the revoked certificates {}", path.display())
            })?,
            None => Vec::new(),
        };
        let revoked = revoked(&lists)?;
        let provider = Arc::new(ring::default_provider());
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).with_crls(lists);
        if options.client_certificates == ClientCertificates::Optional {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build().with_context(|| {
            let lists = options.client_crl_file.as_deref().map(Path::display);
            let lists = lists.map(|path| format!(" and {path}")).unwrap_or_default();
            format!("cannot ask clients for certificates by {shown}{lists}")
        })?;
        Ok(Some(Clients { verifier, revoked }))
    }

    pub(super) fn into_revoked(self) -> Revoked {
        self.revoked
    }
}

fn roots(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path)? {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        bail!("there is no certificate in it");
    }
    Ok(roots)
}

fn lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    let lists = CertificateRevocationListDer::pem_file_iter(path)?;
    let lists = lists.collect::<Result<Vec<_>, _>>()?;
    if lists.is_empty() {
        bail!("there is no list in it");
    }
    Ok(lists)
}

fn revoked(lists: &[CertificateRevocationListDer<'_>]) -> Result<Revoked> {
    let mut all = Revoked::default();
    for list in lists {
        let list = X509Crl::from_der(list).context("cannot read a list of revoked certificates")?;
        let issuer = issuer(list.issuer_name())?;
        for one in list.get_revoked().into_iter().flatten() {
            all.0.insert((issuer, one.serial_number().to_bn()?.to_vec()));
        }
    }
    Ok(all)
}

fn issuer(name: &X509NameRef) -> Result<[u8; 32]> {
    Ok(sha256(&name.to_der()?))
}

/// Whom a certificate names, DER, which was checked already; `None` for nobody.
pub(super) fn identify(certificate: &[u8]) -> Option<Certificate> {
    let certificate = X509::from_der(certificate).ok()?;
    let names = certificate.subject_alt_names().into_iter().flatten();
    let name =
        |name: openssl::x509::GeneralName| name.dnsname().or_else(|| name.uri()).map(str::to_owned);
    let identity = names.filter_map(name).next().or_else(|| {
        let mut common = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
        common.next()?.data().to_string().ok()
    })?;
    Certificate::is_identity(&identity).then_some(())?;
    Some(Certificate {
        identity,
        issuer: issuer(certificate.issuer_name()).ok()?,
        serial: certificate.serial_number().to_bn().ok()?.to_vec(),
    })
}
