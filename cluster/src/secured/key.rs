//! The key of a node, and the certificate that it shows with it. The certificate is made at each
//! start: it only carries the key and the name of the node, which the handshake wants in this form.

use crate::{KeyPin, NodeIdentity};
use openssl::{
    asn1::Asn1Time,
    bn::{BigNum, MsbOption},
    ec::{EcGroup, EcKey},
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    x509::{
        X509, X509Builder, X509Name,
        extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName},
    },
};
use ring::digest::{SHA256, digest};
use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};
use std::fmt;

/// A machine without a clock begins in 1970; whoever checks dates all the same finds these.
const NOT_BEFORE: &str = "20200101000000Z";
/// "Without an end" in certificates.
const NOT_AFTER: &str = "99991231235959Z";
/// What a node is called that belongs to no cluster yet.
pub(super) const NAMELESS: &str = "new.oribi";
const SERIAL_BITS: i32 = 127;

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// What is there is no private key in PEM, or nothing can be made of it.
    #[error("cannot use the key of the node: {0}")]
    Unusable(#[from] ErrorStack),
    /// The handshake does not take it.
    #[error("cannot use the key of the node: {0}; expected an EC key on P-256")]
    Unsuited(rustls::Error),
}

/// The private key of a node, made with its data directory.
pub struct NodeKey {
    private: PKey<Private>,
    pin: KeyPin,
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKey").field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl NodeKey {
    /// Draws one.
    ///
    /// # Errors
    /// What the library for keys answers.
    pub fn generate() -> Result<NodeKey, KeyError> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        NodeKey::of(PKey::from_ec_key(EcKey::generate(&group)?)?)
    }

    /// Reads what [`NodeKey::to_pem`] gave.
    ///
    /// # Errors
    /// It is no key that a node can use.
    pub fn from_pem(pem: &[u8]) -> Result<NodeKey, KeyError> {
        let key = NodeKey::of(PKey::private_key_from_pem(pem)?)?;
        key.certified(NAMELESS, None)?;
        Ok(key)
    }

    /// The private key, PKCS#8 in PEM.
    ///
    /// # Errors
    /// What the library for keys answers.
    pub fn to_pem(&self) -> Result<Vec<u8>, KeyError> {
        Ok(self.private.private_key_to_pem_pkcs8()?)
    }

    /// By what others know it.
    pub fn pin(&self) -> KeyPin {
        self.pin
    }

    fn of(private: PKey<Private>) -> Result<NodeKey, KeyError> {
        let pin = pin_of(&private.public_key_to_der()?);
        Ok(NodeKey { private, pin })
    }

    /// The key with a certificate for this name.
    pub(super) fn certified(
        &self,
        name: &str,
        identity: Option<NodeIdentity>,
    ) -> Result<CertifiedKey, KeyError> {
        let certificate = self.certificate(name, identity)?.to_der()?;
        let private = PrivateKeyDer::Pkcs8(self.private.private_key_to_pkcs8()?.into());
        let signing = any_supported_type(&private).map_err(KeyError::Unsuited)?;
        Ok(CertifiedKey::new(vec![CertificateDer::from(certificate)], signing))
    }

    fn certificate(&self, name: &str, identity: Option<NodeIdentity>) -> Result<X509, ErrorStack> {
        let mut subject = X509Name::builder()?;
        subject.append_entry_by_nid(Nid::COMMONNAME, "Oribi node")?;
        let subject = subject.build();
        let mut serial = BigNum::new()?;
        serial.rand(SERIAL_BITS, MsbOption::MAYBE_ZERO, false)?;
        let mut builder: X509Builder = X509::builder()?;
        builder.set_version(2)?;
        builder.set_serial_number(&*serial.to_asn1_integer()?)?;
        builder.set_subject_name(&subject)?;
        builder.set_issuer_name(&subject)?;
        builder.set_pubkey(&self.private)?;
        builder.set_not_before(&*Asn1Time::from_str(NOT_BEFORE)?)?;
        builder.set_not_after(&*Asn1Time::from_str(NOT_AFTER)?)?;
        builder.append_extension(BasicConstraints::new().critical().build()?)?;
        builder.append_extension(ExtendedKeyUsage::new().server_auth().client_auth().build()?)?;
        let mut names = SubjectAlternativeName::new();
        names.dns(name);
        if let Some(NodeIdentity { cluster, node, .. }) = identity {
            names.uri(&format!("oribi://{cluster}/node/{node}"));
        }
        let names = names.build(&builder.x509v3_context(None, None))?;
        builder.append_extension(names)?;
        builder.sign(&self.private, MessageDigest::sha256())?;
        Ok(builder.build())
    }
}

/// The pin of a public key, DER.
pub(super) fn pin_of(public: &[u8]) -> KeyPin {
    let mut pin = [0; 32];
    pin.copy_from_slice(digest(&SHA256, public).as_ref());
    KeyPin(pin)
}
