//! Filters of MQTT topics, with the names of who publishes in them.

/// Longest filter, bytes.
const FILTER_BYTES_MAX: usize = 1_024;

/// Checks a topic filter: `+` and `#` stand alone in their level, `#` in the last one.
///
/// # Errors
/// Says what is wrong.
pub fn check_filter(filter: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("the topic filter {filter:?} {what}"));
    if filter.is_empty() || filter.len() > FILTER_BYTES_MAX || filter.contains('\0') {
        return wrong(&format!("has not 1 to {FILTER_BYTES_MAX} bytes, or one that is 0"));
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let is_alone = matches!(level, "+" | "#");
        if !is_alone && level.contains(['+', '#']) {
            return wrong("has a wildcard beside other characters of a level");
        }
        if level == "#" && levels.peek().is_some() {
            return wrong("has # before the last level");
        }
    }
    Ok(())
}

/// The topics that one connection may publish to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRules {
    /// `None`: all.
    filters: Option<Vec<String>>,
}

impl TopicRules {
    /// No rule at all.
    pub fn open() -> TopicRules {
        TopicRules { filters: None }
    }

    /// Filters in which `%u` is the token's name, or the identity of a certificate, and `%c` the
    /// client's id. `None`: one of them would be a wildcard, or more than one level.
    pub fn new(filters: &[String], user: &str, client_id: &str) -> Option<TopicRules> {
        if filters.is_empty() {
            return Some(TopicRules::open());
        }
        let is_level = |name: &str| !name.is_empty() && !name.contains(['+', '#', '/']);
        let named = |name: &str| filters.iter().any(|filter| filter.contains(name));
        if (named("%c") && !is_level(client_id)) || (named("%u") && !is_level(user)) {
            return None;
        }
        // One pass, so that a client's id cannot bring a name of its own in.
        let expand = |filter: &String| {
            let mut out = String::with_capacity(filter.len());
            let mut rest = filter.as_str();
            while let Some(at) = rest.find('%') {
                out.push_str(&rest[..at]);
                let (name, taken) = match rest.as_bytes().get(at + 1) {
                    Some(b'u') => (user, 2),
                    Some(b'c') => (client_id, 2),
                    _ => ("%", 1),
                };
                out.push_str(name);
                rest = &rest[at + taken..];
            }
            out.push_str(rest);
            out
        };
        Some(TopicRules { filters: Some(filters.iter().map(expand).collect()) })
    }

    /// Whether a topic may be published to.
    pub fn allow(&self, topic: &str) -> bool {
        self.filters.as_ref().is_none_or(|all| all.iter().any(|filter| fits(filter, topic)))
    }
}

/// MQTT 5, 4.7.
fn fits(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut wanted, mut levels) = (filter.split('/'), topic.split('/'));
    loop {
        match (wanted.next(), levels.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(filters: &[&str], token: &str, client: &str, topic: &str) -> Option<bool> {
        let filters: Vec<String> = filters.iter().map(|one| (*one).to_owned()).collect();
        TopicRules::new(&filters, token, client).map(|rules| rules.allow(topic))
    }

    #[test]
    fn filters_fit_as_the_standard_says() {
        for (filter, topic, fits) in [
            ("sensors/+/dev7", "sensors/north/dev7", true),
            ("sensors/+/dev7", "sensors/north/dev8", false),
            ("sensors/+/dev7", "sensors/north/dev7/x", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("+", "", true),
            ("a/+", "a/", true),
        ] {
            assert_eq!(allow(&[filter], "t", "c", topic), Some(fits), "{filter} {topic}");
        }
        assert_eq!(allow(&[], "t", "c", "anything"), Some(true));
    }

    #[test]
    fn names_stand_for_themselves_only() {
        assert_eq!(allow(&["s/+/%u"], "dev7", "x", "s/north/dev7"), Some(true));
        assert_eq!(allow(&["s/+/%u"], "dev7", "x", "s/north/dev8"), Some(false));
        assert_eq!(allow(&["s/%c"], "dev7", "c1", "s/c1"), Some(true));
        for client in ["#", "+", "a/b", ""] {
            assert_eq!(allow(&["s/%c"], "dev7", client, "s/x"), None);
        }
        for user in ["#", "+", "spiffe://plant/dev7", ""] {
            assert_eq!(allow(&["s/%u"], user, "c1", "s/x"), None);
            assert_eq!(allow(&["s/x"], user, "c1", "s/x"), Some(true));
        }
        // An id that looks like a name of the token is not one.
        assert_eq!(allow(&["s/%c"], "dev7", "%u", "s/dev7"), Some(false));
        assert_eq!(allow(&["100%/%x"], "t", "c", "100%/%x"), Some(true));
    }

    #[test]
    fn filters_that_cannot_be_are_refused() {
        for good in ["a", "a/+/b", "#", "a/#", "+", "/", "s/%u/%c"] {
            assert!(check_filter(good).is_ok(), "{good}");
        }
        for wrong in ["", "a/#/b", "a+", "a/b#", "+a/b", "a\0"] {
            assert!(check_filter(wrong).is_err(), "{wrong}");
        }
    }
}
