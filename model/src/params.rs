//! Names and values as URLs and forms write them.

use percent_encoding::percent_decode;

/// A name or value that is not UTF-8 once decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot read a parameter: it is not UTF-8 once decoded; expected UTF-8 as %XX")]
pub struct NotUtf8;

/// Pairs such as `a=1&b=x+y%2Fz`, decoded, in their order. A name without a value has an empty one;
/// a `%` without two digits stands for itself.
///
/// # Errors
/// [`NotUtf8`]: nothing is replaced, since it would name something else.
pub fn pairs(text: &[u8]) -> Result<Vec<(String, String)>, NotUtf8> {
    let pair = |pair: &[u8]| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let name = decoded(halves.next().unwrap_or_default())?;
        Ok((name, decoded(halves.next().unwrap_or_default())?))
    };
    text.split(|byte| *byte == b'&').filter(|text| !text.is_empty()).map(pair).collect()
}

fn decoded(text: &[u8]) -> Result<String, NotUtf8> {
    let blanks: Vec<u8> =
        text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&blanks).decode_utf8().map(Into::into).map_err(|_| NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let found = pairs("q=SHOW+DATABASES%3B&db=a%2Fb&&x&y=%zz%4&%C3%BC=1=2%2b".as_bytes());
        let expected =
            [("q", "SHOW DATABASES;"), ("db", "a/b"), ("x", ""), ("y", "%zz%4"), ("ü", "1=2+")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found, Ok(expected.to_vec()));
        assert_eq!(pairs(b""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        for text in [&b"a=%ff"[..], b"%C3=1", b"a=b%C3%28", b"a=\xff", b"ok=1&a=%E2%82"] {
            assert_eq!(pairs(text), Err(NotUtf8), "{text:?}");
        }
    }
}
