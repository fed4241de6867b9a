//! Keys of RSA that OpenSSL signs with, which takes less than half of the time that the library of the handshakes takes.

use openssl::{
    hash::MessageDigest,
    pkey::{Id, PKey, Private},
    rsa::Padding,
    sign::{RsaPssSaltlen, Signer},
};
use rustls::{
    Error, SignatureAlgorithm, SignatureScheme,
    pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer},
    sign,
};
use std::sync::Arc;

/// What other keys there are is for others to judge, bits.
const BITS_MIN: u32 = 2_048;
/// The best first.
const SCHEMES: [SignatureScheme; 6] = [
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA256,
];

/// A key of RSA.
#[derive(Debug)]
pub(super) struct RsaKey {
    private: PKey<Private>,
    public: Vec<u8>,
}

impl RsaKey {
    /// The key, where it is one of RSA that is sound and long enough.
    pub(super) fn of(key: &PrivateKeyDer<'_>) -> Option<RsaKey> {
        let private = PKey::private_key_from_der(key.secret_der()).ok()?;
        let is_sound = private.id() == Id::RSA
            && private.bits() >= BITS_MIN
            && private.rsa().and_then(|rsa| rsa.check_key()).unwrap_or(false);
        let public = private.public_key_to_der().ok().filter(|_| is_sound)?;
        Some(RsaKey { private, public })
    }
}

impl sign::SigningKey for RsaKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn sign::Signer>> {
        let scheme = SCHEMES.into_iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(RsaSigner { private: self.private.clone(), scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(&self.public[..]))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

/// Signs in one way.
#[derive(Debug)]
struct RsaSigner {
    private: PKey<Private>,
    scheme: SignatureScheme,
}

impl sign::Signer for RsaSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let digest = match self.scheme {
            SignatureScheme::RSA_PSS_SHA512 | SignatureScheme::RSA_PKCS1_SHA512 => {
                MessageDigest::sha512()
            }
            SignatureScheme::RSA_PSS_SHA384 | SignatureScheme::RSA_PKCS1_SHA384 => {
                MessageDigest::sha384()
            }
            _ => MessageDigest::sha256(),
        };
        let is_pss = SCHEMES[..3].contains(&self.scheme);
        let signing = || {
            let mut signer = Signer::new(digest, &self.private)?;
            if is_pss {
                signer.set_rsa_padding(Padding::PKCS1_PSS)?;
                signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
            }
            signer.sign_oneshot_to_vec(message)
        };
        signing().map_err(|wrong: openssl::error::ErrorStack| Error::Other(other(wrong)))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

fn other(wrong: openssl::error::ErrorStack) -> rustls::OtherError {
    rustls::OtherError(Arc::new(wrong))
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::{ec::EcKey, nid::Nid, rsa::Rsa};
    use rustls::{crypto::ring, pki_types::PrivatePkcs8KeyDer, sign::SigningKey};

    fn der(key: &PKey<Private>) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(key.private_key_to_pkcs8().unwrap()).into()
    }

    /// Checked by the library of the handshakes.
    #[test]
    fn what_it_signs_is_what_others_check() {
        let private = PKey::from_rsa(Rsa::generate(2_048).unwrap()).unwrap();
        let own = RsaKey::of(&der(&private)).unwrap();
        let theirs = ring::sign::any_supported_type(&der(&private)).unwrap();
        assert_eq!(own.public_key(), theirs.public_key());
        let public = private.rsa().unwrap().public_key_to_der_pkcs1().unwrap();
        let known = ring::default_provider().signature_verification_algorithms;
        for scheme in SCHEMES {
            let signer = own.choose_scheme(&[SignatureScheme::ED25519, scheme]).unwrap();
            assert_eq!(signer.scheme(), scheme);
            let signature = signer.sign(b"said").unwrap();
            let (_, algorithms) = known.mapping.iter().find(|(one, _)| *one == scheme).unwrap();
            let holds = |said: &[u8]| {
                algorithms.iter().any(|one| one.verify_signature(&public, said, &signature).is_ok())
            };
            assert!(holds(b"said") && !holds(b"unsaid"), "{scheme:?}");
        }
        assert!(own.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).is_none());
    }

    #[test]
    fn other_keys_are_left_to_others() {
        let group = openssl::ec::EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let curve = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let short = PKey::from_rsa(Rsa::generate(1_024).unwrap()).unwrap();
        for key in [curve, short] {
            assert!(RsaKey::of(&der(&key)).is_none());
        }
    }
}
