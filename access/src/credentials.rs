//! What requests show, in every form that clients have.

use crate::Certificate;
use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use std::sync::Arc;

/// Something that a client showed, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented<'a> {
    /// Nothing at all.
    Nothing,
    /// This, where a secret belongs.
    Secret(&'a [u8]),
    /// A certificate.
    Certificate(&'a Arc<Certificate>),
    /// A certificate, and this where a secret belongs.
    Both(&'a Arc<Certificate>, &'a [u8]),
}

/// A secret out of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Given(Option<Vec<u8>>);

impl Given {
    /// As the doorkeeper takes it.
    pub fn presented(&self) -> Presented<'_> {
        self.0.as_deref().map_or(Presented::Nothing, Presented::Secret)
    }

    /// Whether nothing was given.
    pub fn is_nothing(&self) -> bool {
        self.0.is_none()
    }
}

/// Why credentials cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCredentials {
    /// A scheme that is not known here.
    #[error("the Authorization header is neither Bearer, Token nor Basic")]
    Scheme,
    /// Basic without what it is made of.
    #[error("the Basic credentials are no base64 of USER:TOKEN")]
    Basic,
}

/// The secret in the value of an `Authorization` header: `Bearer S`, `Token S`, `Token USER:S` or
/// `Basic` of `USER:S`. User names are never believed, so they are not read.
///
/// # Errors
/// Another form.
pub fn from_header(value: &[u8]) -> Result<Given, BadCredentials> {
    let value = value.trim_ascii();
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, rest) = (&value[..end], value[end..].trim_ascii());
    let is = |name: &[u8]| scheme.eq_ignore_ascii_case(name);
    let secret = if is(b"bearer") {
        rest.to_vec()
    } else if is(b"token") {
        let at = rest.iter().position(|byte| *byte == b':').map_or(0, |at| at + 1);
        rest[at..].to_vec()
    } else if is(b"basic") {
        let pair = base64(rest).ok_or(BadCredentials::Basic)?;
        let at = pair.iter().position(|byte| *byte == b':').ok_or(BadCredentials::Basic)?;
        pair[at + 1..].to_vec()
    } else {
        return Err(BadCredentials::Scheme);
    };
    Ok(Given(Some(secret)))
}

/// The secret in a parameter.
pub fn from_parameter(value: Option<&str>) -> Given {
    Given(value.map(|text| text.as_bytes().to_vec()))
}

/// RFC 4648 in either alphabet, with or without padding at its end.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, CONFIG);
    const FOR_URLS: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, CONFIG);
    PLAIN.decode(text).or_else(|_| FOR_URLS.decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secret(value: &str) -> Result<String, BadCredentials> {
        from_header(value.as_bytes()).map(|given| String::from_utf8(given.0.unwrap()).unwrap())
    }

    #[test]
    fn every_form_holds_the_same_secret() {
        for value in [
            "Bearer s3",
            "bearer s3",
            "BEARER   s3 ",
            "Token s3",
            "Token user:s3",
            "token :s3",
            "Basic dXNlcjpzMw==",
            "basic dXNlcjpzMw",
            "Basic OnMz",
        ] {
            assert_eq!(secret(value).as_deref(), Ok("s3"), "{value}");
        }
        assert_eq!(secret("Token a:b:T").as_deref(), Ok("b:T"));
        assert_eq!(secret("Bearer").as_deref(), Ok(""));
        for (value, wrong) in [
            ("", BadCredentials::Scheme),
            ("oribi_x", BadCredentials::Scheme),
            ("Digest x", BadCredentials::Scheme),
            ("Basic", BadCredentials::Basic),
            ("Basic dXNlcg==", BadCredentials::Basic),
            ("Basic ****", BadCredentials::Basic),
            ("Basic A", BadCredentials::Basic),
            ("Basic A===", BadCredentials::Basic),
        ] {
            assert_eq!(secret(value), Err(wrong), "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_header_is_a_panic(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = from_header(&value);
            let _ = from_header(&[b"Basic ", &value[..]].concat());
        }
    }
}
