//! Parameters of a URL or form.

/// Names and values in order, decoded.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn parse(text: &str) -> Params {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Params(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    /// The first value of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// A name that is none of `known`.
    pub(super) fn unknown(&self, known: &[&str]) -> Option<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).find(|name| !known.contains(name))
    }

    /// A name that stands twice.
    pub(super) fn repeated(&self) -> Option<&str> {
        let seen = |at: usize, name: &String| self.0[..at].iter().any(|(one, _)| one == name);
        self.0.iter().enumerate().find(|(at, (name, _))| seen(*at, name)).map(|(_, (n, _))| &**n)
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => match tail.get(..2).and_then(hex) {
                Some(byte) => {
                    bytes.push(byte);
                    rest = &tail[2..];
                }
                None => bytes.push(b'%'),
            },
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    u8::from_str_radix(text, 16).ok().filter(|_| text.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let params = Params::parse("q=SHOW+DATABASES%3B&db=a%2Fb&x&y=%zz");
        assert_eq!(params.get("q"), Some("SHOW DATABASES;"));
        assert_eq!(params.get("db"), Some("a/b"));
        assert_eq!((params.get("x"), params.get("y")), (Some(""), Some("%zz")));
        assert_eq!(params.unknown(&["q", "db", "y"]), Some("x"));
    }
}
