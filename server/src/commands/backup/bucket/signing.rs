//! What requests to S3 are signed with: SHA-256 and HMAC, by the library that is linked for Kafka anyway.

use object_store::client::{
    CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer, SigningAlgorithm,
};
use openssl::{hash::MessageDigest, pkey::PKey, sha::Sha256};

const DIGEST_BYTES: usize = 32;

#[derive(Debug)]
pub(super) struct OpenSsl;

struct Digest {
    state: Sha256,
    out: [u8; DIGEST_BYTES],
}

/// What is signed is a few lines, so that it is gathered first.
struct Hmac {
    secret: Vec<u8>,
    data: Vec<u8>,
    out: Vec<u8>,
}

fn unsupported(what: &str) -> object_store::Error {
    object_store::Error::NotSupported { source: format!("{what} is not known here").into() }
}

impl CryptoProvider for OpenSsl {
    fn digest(&self, algorithm: DigestAlgorithm) -> object_store::Result<Box<dyn DigestContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => {
                Ok(Box::new(Digest { state: Sha256::new(), out: [0; DIGEST_BYTES] }))
            }
            _ => Err(unsupported("the digest")),
        }
    }

    fn hmac(
        &self,
        algorithm: DigestAlgorithm,
        secret: &[u8],
    ) -> object_store::Result<Box<dyn HmacContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => {
                let (data, out) = Default::default();
                Ok(Box::new(Hmac { secret: secret.to_vec(), data, out }))
            }
            _ => Err(unsupported("the digest of an HMAC")),
        }
    }

    fn sign(&self, _: SigningAlgorithm, _: &[u8]) -> object_store::Result<Box<dyn Signer>> {
        Err(unsupported("signing with a private key"))
    }
}

impl DigestContext for Digest {
    fn update(&mut self, data: &[u8]) {
        self.state.update(data);
    }

    fn finish(&mut self) -> object_store::Result<&[u8]> {
        self.out = std::mem::take(&mut self.state).finish();
        Ok(&self.out)
    }
}

impl HmacContext for Hmac {
    fn update(&mut self, data: &[u8]) {
        self.data.extend_from_slice(data);
    }

    fn finish(&mut self) -> object_store::Result<&[u8]> {
        let signed = PKey::hmac(&self.secret).and_then(|key| {
            let mut signer = openssl::sign::Signer::new(MessageDigest::sha256(), &key)?;
            signer.sign_oneshot_to_vec(&self.data)
        });
        self.out = signed.map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(error),
        })?;
        Ok(&self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// FIPS 180-4's "abc", and case 2 of RFC 4231.
    #[test]
    fn digests_are_those_of_the_standards() {
        let mut digest = OpenSsl.digest(DigestAlgorithm::Sha256).unwrap();
        digest.update(b"a");
        digest.update(b"bc");
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(digest.finish().unwrap()), abc);
        let mut hmac = OpenSsl.hmac(DigestAlgorithm::Sha256, b"Jefe").unwrap();
        hmac.update(b"what do ya want ");
        hmac.update(b"for nothing?");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(hmac.finish().unwrap()), expected);
    }
}
