//! Words that stand for no value.

/// What devices and Home Assistant send in place of a value that they do not have.
const USUAL: [&str; 7] = ["unavailable", "unknown", "none", "null", "nan", "undefined", ""];

/// The words of one route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nulls(Option<Vec<String>>);

impl Nulls {
    /// The words given, or the usual ones.
    pub fn new(given: Option<&Vec<String>>) -> Nulls {
        Nulls(given.cloned())
    }

    /// Whether a bare value stands for none.
    pub fn has(&self, text: &str) -> bool {
        let text = text.trim();
        match &self.0 {
            Some(words) => words.iter().any(|word| text.eq_ignore_ascii_case(word.trim())),
            None => USUAL.iter().any(|word| text.eq_ignore_ascii_case(word)),
        }
    }

    /// The words that stand for no time, which a route has to name.
    pub fn of_times(&self) -> &[String] {
        self.0.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_the_usual_words_or_its_own() {
        let usual = Nulls::default();
        for word in ["Unavailable", "unknown", "None", "null", "NaN", "undefined", "", " "] {
            assert!(usual.has(word), "{word:?}");
        }
        assert!(!usual.has("off") && usual.of_times().is_empty());
        let own = Nulls::new(Some(&vec!["-".to_owned()]));
        assert!(own.has("-") && !own.has("none"));
        assert_eq!(own.of_times(), ["-"]);
    }
}
