//! Names with stars.

use serde::{Deserialize, Serialize};

/// Longest pattern, bytes: twice a name.
const BYTES_MAX: usize = 512;

/// A pattern of names: `*` stands for any run of characters, `\*` for a star. Case counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob(String);

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// One that is empty, too long, or ends in the middle of an escape.
    pub fn new(text: &str) -> Result<Glob, String> {
        if text.is_empty() || text.len() > BYTES_MAX {
            return Err(format!("a pattern has 1 to {BYTES_MAX} bytes"));
        }
        let backslashes = text.bytes().rev().take_while(|byte| *byte == b'\\').count();
        if backslashes % 2 == 1 {
            return Err(format!("the pattern {text:?} ends within an escape"));
        }
        Ok(Glob(text.to_owned()))
    }

    /// The pattern in which `from` is replaced by a text that stands for itself.
    ///
    /// # Errors
    /// It would be too long.
    pub(crate) fn with(&self, from: &str, text: &str) -> Result<Glob, String> {
        let plain = text.replace('\\', "\\\\").replace('*', "\\*");
        Glob::new(&self.0.replace(from, &plain))
    }

    /// The one text that fits; `None` where more do.
    pub fn only(&self) -> Option<&str> {
        (!self.0.contains(['*', '\\'])).then_some(&self.0)
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every name that does not begin with `_` fits.
    pub fn is_any(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether a name of a database or table fits. What begins with `_` holds what is everybody's, so
    /// that a star does not reach it: the pattern has to begin with `_` as well.
    pub fn fits_name(&self, name: &str) -> bool {
        (!name.starts_with('_') || self.0.starts_with('_')) && self.fits(name)
    }

    /// Whether a text fits.
    pub fn fits(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut p, mut t) = (0, 0);
        // Where to go on after the last star took one byte more.
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            let (byte, next) = match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p + 1, t));
                    p += 1;
                    continue;
                }
                Some(b'\\') => (pattern.get(p + 1), p + 2),
                byte => (byte, p + 1),
            };
            if byte == Some(&text[t]) {
                (p, t) = (next, t + 1);
            } else if let Some((after, from)) = star {
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }
}

impl TryFrom<String> for Glob {
    type Error = String;

    fn try_from(text: String) -> Result<Glob, String> {
        Glob::new(&text)
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> String {
        glob.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_stand_for_any_run_and_reach_nothing_of_everybodys() {
        for (pattern, name, fits) in [
            ("*", "sensors", true),
            ("sensors", "sensors", true),
            ("sensors", "Sensors", false),
            ("s*s", "sensors", true),
            ("s*s", "sensor", false),
            ("*a*b*", "xaybz", true),
            ("*a*b*", "xbya", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a\\\\", "a\\", true),
            ("*", "_dead_letters", false),
            ("*_dead_letters", "_dead_letters", false),
            ("_dead_letters", "_dead_letters", true),
            ("_*", "_dead_letters", true),
            ("*", "a/b", true),
            ("é*", "éa", true),
        ] {
            assert_eq!(Glob::new(pattern).unwrap().fits_name(name), fits, "{pattern} {name}");
        }
        for wrong in ["", "a\\", "\\\\\\"] {
            assert!(Glob::new(wrong).is_err(), "{wrong}");
        }
    }

    /// By every way to cut the text.
    fn plain(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|at| plain(rest, &text[at..])),
            [b'\\', byte, rest @ ..] | [byte, rest @ ..] => {
                text.first() == Some(byte) && plain(rest, &text[1..])
            }
        }
    }

    proptest! {
        #[test]
        fn patterns_fit_as_every_way_to_cut_says(pattern in "[ab*\\\\]{1,8}", text in "[ab*]{0,8}") {
            if let Ok(glob) = Glob::new(&pattern) {
                prop_assert_eq!(glob.fits(&text), plain(pattern.as_bytes(), text.as_bytes()));
            }
        }
    }
}
