//! Parameters of a URL or form.

use oribi_model::params::{NotUtf8, pairs};

/// Names and values in order, decoded.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a URL's query or a form.
    ///
    /// # Errors
    /// What is not UTF-8.
    pub(super) fn parse(text: &[u8]) -> Result<Params, NotUtf8> {
        pairs(text).map(Params)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let params = Params::parse(b"q=SHOW+DATABASES%3B&db=a%2Fb&x&y=%zz").unwrap();
        assert_eq!(params.get("q"), Some("SHOW DATABASES;"));
        assert_eq!(params.get("db"), Some("a/b"));
        assert_eq!((params.get("x"), params.get("y")), (Some(""), Some("%zz")));
        assert_eq!(params.unknown(&["q", "db", "y"]), Some("x"));
    }
}
