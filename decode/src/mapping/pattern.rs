//! Topics: filters that pick them, patterns that take them apart.

use oribi_model::Name;
use regex::Regex;

/// Longest regular expression once compiled, bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Whose topics they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicStyle {
    /// Levels divided by `/`, filters with `+` and `#`.
    Mqtt,
    /// Plain names, and regular expressions with a leading `^`.
    Kafka,
}

/// What a pattern found in a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Captures {
    /// By name; empty levels are left out.
    pub(super) values: Vec<(String, String)>,
    /// Whether the last level was captured.
    pub(super) has_last: bool,
}

impl Captures {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

#[derive(Debug, Clone)]
enum Level {
    Text(String),
    Capture(String),
    Any,
    Rest,
}

/// Levels with captures.
#[derive(Debug, Clone)]
pub(super) struct Pattern(Vec<Level>);

impl Pattern {
    /// # Errors
    /// What is wrong with a pattern.
    pub(super) fn parse(text: &str) -> Result<Pattern, String> {
        let mut levels = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        let count = text.split('/').count();
        for (place, level) in text.split('/').enumerate() {
            levels.push(match level {
                "+" => Level::Any,
                "#" if place + 1 == count => Level::Rest,
                "#" => return Err("`#` stands at the end only".into()),
                level => match level.strip_prefix('{').and_then(|level| level.strip_suffix('}')) {
                    Some(name) => {
                        Name::new(name).map_err(|wrong| wrong.to_string())?;
                        if name == "time" || names.contains(&name) {
                            return Err(format!("the tag {name:?} is `time` or stands twice"));
                        }
                        names.push(name);
                        Level::Capture(name.to_owned())
                    }
                    None if level.contains(['{', '}', '+', '#']) => {
                        return Err(format!("the level {level:?} is neither text nor `{{name}}`"));
                    }
                    None => Level::Text(level.to_owned()),
                },
            });
        }
        Ok(Pattern(levels))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|level| match level {
            Level::Capture(name) => Some(&**name),
            _ => None,
        })
    }

    /// What it captures of a topic that it fits.
    pub(super) fn captures(&self, topic: &str) -> Option<Captures> {
        let mut found = Captures::default();
        let mut parts = topic.split('/');
        for level in &self.0 {
            found.has_last = false;
            match level {
                Level::Rest => return Some(found),
                Level::Text(text) => (parts.next()? == text).then_some(())?,
                Level::Any => drop(parts.next()?),
                Level::Capture(name) => {
                    let value = parts.next()?;
                    found.has_last = true;
                    if !value.is_empty() {
                        found.values.push((name.clone(), value.to_owned()));
                    }
                }
            }
        }
        parts.next().is_none().then_some(found)
    }
}

/// Picks topics.
#[derive(Debug, Clone)]
pub(super) enum TopicFilter {
    Levels(Pattern),
    Name(String),
    Regex(Regex),
}

impl TopicFilter {
    /// # Errors
    /// What is wrong with a filter.
    pub(super) fn parse(text: &str, style: TopicStyle) -> Result<TopicFilter, String> {
        match style {
            TopicStyle::Kafka if text.starts_with('^') => {
                let compiled = regex::RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build();
                compiled.map(TopicFilter::Regex).map_err(|wrong| wrong.to_string())
            }
            TopicStyle::Kafka => Ok(TopicFilter::Name(text.to_owned())),
            TopicStyle::Mqtt => {
                let mut filter = text;
                if let Some(shared) = text.strip_prefix("$share/") {
                    let parts = shared.split_once('/').filter(|(group, _)| !group.is_empty());
                    filter = parts.ok_or("a shared filter is `$share/GROUP/FILTER`")?.1;
                }
                if filter.is_empty() || filter.contains(['{', '}']) {
                    return Err("a filter is levels of text, `+`, or a final `#`".into());
                }
                Pattern::parse(filter).map(TopicFilter::Levels)
            }
        }
    }

    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            TopicFilter::Regex(regex) => regex.capture_names().flatten().collect(),
            TopicFilter::Levels(_) | TopicFilter::Name(_) => Vec::new(),
        }
    }

    /// What it captures of a topic that it picks.
    pub(super) fn captures(&self, topic: &str) -> Option<Captures> {
        match self {
            TopicFilter::Levels(levels) => levels.captures(topic),
            TopicFilter::Name(name) => (name == topic).then(Captures::default),
            TopicFilter::Regex(regex) => {
                let found = regex.captures(topic)?;
                let value = |name: &str| {
                    let value = found.name(name)?.as_str();
                    (!value.is_empty()).then(|| (name.to_owned(), value.to_owned()))
                };
                let values = regex.capture_names().flatten().filter_map(value).collect();
                Some(Captures { values, has_last: false })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(found: Option<Captures>) -> Option<Vec<(String, String)>> {
        found.map(|found| found.values)
    }

    fn pairs(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn patterns_capture_levels() {
        let fits =
            |pattern: &str, topic: &str| values(Pattern::parse(pattern).unwrap().captures(topic));
        assert_eq!(fits("s/{a}/{b}", "s/x/y"), pairs(&[("a", "x"), ("b", "y")]));
        assert_eq!(fits("s/{a}/#", "s/x/y/z"), pairs(&[("a", "x")]));
        assert_eq!(fits("s/+/{b}", "s//y"), pairs(&[("b", "y")]));
        assert_eq!(fits("s/{a}", "s/x/y"), None);
        assert_eq!(fits("s/{a}", "t/x"), None);
        for wrong in ["a/#/b", "{a}/{a}", "{time}/x", "x{a}", "{}"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn filters_pick_topics() {
        let fits = |filter: &str, style, topic: &str| {
            values(TopicFilter::parse(filter, style).unwrap().captures(topic))
        };
        let (mqtt, kafka) = (TopicStyle::Mqtt, TopicStyle::Kafka);
        assert_eq!(fits("a/+/#", mqtt, "a/b/c/d"), pairs(&[]));
        assert_eq!(fits("$share/g/a/+", mqtt, "a/b"), pairs(&[]));
        assert_eq!(fits("a/+", mqtt, "a/b/c"), None);
        assert_eq!(fits("rows", kafka, "rows"), pairs(&[]));
        assert_eq!(fits("rows", kafka, "rows2"), None);
        let regex = "^plant-(?<plant>[a-z]+)$";
        assert_eq!(fits(regex, kafka, "plant-north"), pairs(&[("plant", "north")]));
        assert_eq!(fits(regex, kafka, "plant-9"), None);
        assert!(TopicFilter::parse("^(", kafka).is_err());
        assert!(TopicFilter::parse("$share//a", mqtt).is_err());
    }
}
