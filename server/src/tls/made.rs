//! A certificate that the node makes for itself: an authority, and two leaves of it, since small
//! devices check signatures of RSA only. A renewed leaf keeps its key, which devices may know.

use super::pair::{self, Leaf};
use anyhow::{Context, Result};
use openssl::{
    asn1::Asn1Time,
    bn::{BigNum, MsbOption},
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    rsa::Rsa,
    x509::{
        X509, X509Builder, X509Name,
        extension::{
            AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage,
            SubjectAlternativeName, SubjectKeyIdentifier,
        },
    },
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

const AUTHORITY_DAYS: u32 = 3_650;
const LEAF_DAYS: u32 = 397;
/// A leaf is renewed once a third of its time is left.
const LEFT_DAYS_MIN: i64 = LEAF_DAYS as i64 / 3;
const RSA_BITS: u32 = 2_048;
/// The leaves, the better one first.
const LEAVES: [(&str, Kind); 2] = [("ec", Kind::Ec), ("rsa", Kind::Rsa)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ec,
    Rsa,
}

/// What the node made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) leaves: Vec<Leaf>,
    /// The authority's certificate, PEM.
    pub(super) authority: Vec<u8>,
}

impl Made {
    /// Reads what is in `dir`, and makes what is missing, ends soon, or has not all the names.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub(super) fn open(dir: &Path, further: &[String]) -> Result<Made> {
        fs::create_dir_all(dir)?;
        let (authority, authority_key) = authority(dir)?;
        let names = names(further);
        let mut leaves = Vec::new();
        for (name, kind) in LEAVES {
            let key = key(&dir.join(name).with_extension("key"), kind)?;
            let path = dir.join(name).with_extension("pem");
            let known = fs::read(&path).ok().and_then(|pem| X509::from_pem(&pem).ok());
            let still = known.filter(|known| {
                is_good(known)
                    && names_of(known) == names
                    && known.verify(&authority_key).is_ok_and(|is| is)
            });
            let certificate = match still {
                Some(certificate) => certificate,
                None => {
                    let made = leaf(&key, &names, &authority, &authority_key)?;
                    pair::write_private(&path, &made.to_pem()?)?;
                    made
                }
            };
            let chain = vec![CertificateDer::from(certificate.to_der()?)];
            let private = PrivateKeyDer::try_from(key.private_key_to_pkcs8()?);
            let private = private.map_err(|wrong| anyhow::anyhow!("{wrong}"))?;
            leaves.push(pair::leaf(chain, private)?);
        }
        Ok(Made { leaves, authority: authority.to_pem()? })
    }

    /// Whether a leaf is to be renewed.
    pub(super) fn is_due(dir: &Path) -> bool {
        LEAVES.iter().any(|(name, _)| {
            let pem = fs::read(dir.join(name).with_extension("pem"));
            let known = pem.ok().and_then(|pem| X509::from_pem(&pem).ok());
            known.is_none_or(|known| !is_good(&known))
        })
    }
}

fn is_good(certificate: &X509) -> bool {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now_s = i64::try_from(now_s).unwrap_or(i64::MAX);
    let end_s = pair::expires_s(certificate).unwrap_or(0);
    end_s.saturating_sub(now_s) > LEFT_DAYS_MIN * 86_400
}

/// Names and addresses of this machine, those of the configuration among them.
fn names(further: &[String]) -> BTreeSet<String> {
    let mut names = BTreeSet::from(["localhost".to_owned(), "127.0.0.1".into(), "::1".into()]);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().to_ascii_lowercase();
    if !host.is_empty() && host != "localhost" {
        if !host.contains('.') {
            names.insert(format!("{host}.local"));
        }
        names.insert(host);
    }
    names.extend(addresses());
    names.extend(further.iter().map(|name| name.to_ascii_lowercase()));
    names
}

/// The addresses that this machine would be reached at, as far as its routes tell.
fn addresses() -> Vec<String> {
    // Nothing is sent: the system only picks the address it would send from.
    let from = |any: &str, to: &str| -> Option<IpAddr> {
        let socket = std::net::UdpSocket::bind((any.parse::<IpAddr>().ok()?, 0)).ok()?;
        socket.connect((to.parse::<IpAddr>().ok()?, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let found = [from("0.0.0.0", "192.0.2.1"), from("::", "2001:db8::1")];
    let is_own = |address: &IpAddr| !address.is_unspecified();
    found.into_iter().flatten().filter(is_own).map(|address| address.to_string()).collect()
}

fn names_of(certificate: &X509) -> BTreeSet<String> {
    let address = |bytes: &[u8]| match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        _ => None,
    };
    let name = |name: &openssl::x509::GeneralNameRef| {
        name.dnsname().map(str::to_owned).or_else(|| name.ipaddress().and_then(address))
    };
    certificate.subject_alt_names().iter().flatten().filter_map(name).collect()
}

fn authority(dir: &Path) -> Result<(X509, PKey<Private>)> {
    let (path, key) = (dir.join("ca.pem"), key(&dir.join("ca.key"), Kind::Ec)?);
    if let Ok(pem) = fs::read(&path) {
        let known = X509::from_pem(&pem).context("cannot read ca.pem")?;
        return Ok((known, key));
    }
    let mut builder = builder("Oribi authority", AUTHORITY_DAYS, &key)?;
    let name = common_name("Oribi authority")?;
    builder.set_issuer_name(&name)?;
    builder.append_extension(BasicConstraints::new().critical().ca().pathlen(0).build()?)?;
    builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
    let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
    builder.append_extension(identifier)?;
    builder.sign(&key, MessageDigest::sha256())?;
    let made = builder.build();
    fs::write(&path, made.to_pem()?)?;
    Ok((made, key))
}

fn leaf(
    key: &PKey<Private>,
    names: &BTreeSet<String>,
    authority: &X509,
    authority_key: &PKey<Private>,
) -> Result<X509> {
    let mut builder = builder("Oribi", LEAF_DAYS, key)?;
    builder.set_issuer_name(authority.subject_name())?;
    builder.append_extension(BasicConstraints::new().critical().build()?)?;
    let mut usage = KeyUsage::new();
    builder.append_extension(usage.critical().digital_signature().build()?)?;
    builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
    let mut all = SubjectAlternativeName::new();
    for name in names {
        match name.parse::<IpAddr>() {
            Ok(_) => all.ip(name),
            Err(_) => all.dns(name),
        };
    }
    let context = builder.x509v3_context(Some(authority), None);
    let (all, identifier) =
        (all.build(&context)?, AuthorityKeyIdentifier::new().keyid(true).build(&context)?);
    builder.append_extension(all)?;
    builder.append_extension(identifier)?;
    builder.sign(authority_key, MessageDigest::sha256())?;
    Ok(builder.build())
}

fn builder(name: &str, days: u32, key: &PKey<Private>) -> Result<X509Builder> {
    const SERIAL_BITS: i32 = 127;
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    let mut serial = BigNum::new()?;
    serial.rand(SERIAL_BITS, MsbOption::MAYBE_ZERO, false)?;
    let serial = serial.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    let name = common_name(name)?;
    builder.set_subject_name(&name)?;
    let (from, to) = (Asn1Time::days_from_now(0)?, Asn1Time::days_from_now(days)?);
    builder.set_not_before(&from)?;
    builder.set_not_after(&to)?;
    builder.set_pubkey(key)?;
    Ok(builder)
}

fn common_name(name: &str) -> Result<X509Name> {
    let mut builder = X509Name::builder()?;
    builder.append_entry_by_nid(Nid::COMMONNAME, name)?;
    Ok(builder.build())
}

/// The key in a file, made where there is none.
fn key(path: &Path, kind: Kind) -> Result<PKey<Private>> {
    if let Ok(pem) = fs::read(path) {
        return PKey::private_key_from_pem(&pem)
            .with_context(|| format!("cannot read the key {}", path.display()));
    }
    let made = match kind {
        Kind::Ec => {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
            PKey::from_ec_key(EcKey::generate(&group)?)?
        }
        Kind::Rsa => PKey::from_rsa(Rsa::generate(RSA_BITS)?)?,
    };
    pair::write_private(path, &made.private_key_to_pem_pkcs8()?)?;
    Ok(made)
}
