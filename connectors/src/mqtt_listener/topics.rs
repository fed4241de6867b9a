//! From topics to tables and tags.

use super::options::{Decoder, TopicRule};
use crate::{Error, Result};
use oribi_model::Name;

/// What a topic means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) table: String,
    /// Tags of every row, empty values left out.
    pub(super) tags: Vec<(String, String)>,
    /// The field of a bare value.
    pub(super) value_field: String,
    pub(super) decoder: Decoder,
}

#[derive(Debug, Clone)]
enum Level {
    Text(String),
    Tag(String),
    Any,
    Rest,
}

#[derive(Debug, Clone)]
struct Rule {
    levels: Vec<Level>,
    table: String,
    decoder: Decoder,
}

/// All rules in order.
#[derive(Debug, Clone)]
pub(super) struct TopicMap {
    rules: Vec<Rule>,
}

impl TopicMap {
    pub(super) fn new(rules: &[TopicRule]) -> Result<TopicMap> {
        let rules = rules.iter().enumerate().map(|(at, rule)| compile(at, rule));
        Ok(TopicMap { rules: rules.collect::<Result<_>>()? })
    }

    pub(super) fn route(&self, topic: &str) -> Route {
        for rule in &self.rules {
            if let Some(route) = apply(rule, topic) {
                return route;
            }
        }
        let first = topic.split('/').next().unwrap_or(topic);
        let last = topic.rsplit('/').next().unwrap_or(topic);
        Route {
            table: first.to_owned(),
            tags: vec![("topic".to_owned(), topic.to_owned())],
            value_field: if last.is_empty() { "value" } else { last }.to_owned(),
            decoder: Decoder::Auto,
        }
    }
}

fn compile(at: usize, rule: &TopicRule) -> Result<Rule> {
    let wrong =
        |key: &str, reason: String| Error::config(format!("mqtt.topics[{at}].{key}"), reason);
    Name::user_table(&rule.table).map_err(|e| wrong("table", e.to_string()))?;
    let mut levels = Vec::new();
    let mut tags: Vec<&str> = Vec::new();
    let count = rule.pattern.split('/').count();
    for (place, level) in rule.pattern.split('/').enumerate() {
        levels.push(match level {
            "+" => Level::Any,
            "#" if place + 1 == count => Level::Rest,
            "#" => return Err(wrong("pattern", "`#` stands at the end only".into())),
            level => match level.strip_prefix('{').and_then(|level| level.strip_suffix('}')) {
                Some(tag) => {
                    Name::new(tag).map_err(|e| wrong("pattern", e.to_string()))?;
                    if tag == "time" || tags.contains(&tag) {
                        let reason = format!("the tag {tag:?} is `time` or stands twice");
                        return Err(wrong("pattern", reason));
                    }
                    tags.push(tag);
                    Level::Tag(tag.to_owned())
                }
                None if level.contains(['{', '}', '+', '#']) => {
                    let reason = format!("the level {level:?} is neither text nor `{{name}}`");
                    return Err(wrong("pattern", reason));
                }
                None => Level::Text(level.to_owned()),
            },
        });
    }
    Ok(Rule { levels, table: rule.table.clone(), decoder: rule.decoder })
}

fn apply(rule: &Rule, topic: &str) -> Option<Route> {
    let mut tags = Vec::new();
    let mut parts = topic.split('/');
    let mut last_captured = false;
    for level in &rule.levels {
        last_captured = false;
        match level {
            Level::Rest => {
                parts.by_ref().for_each(drop);
                break;
            }
            Level::Text(text) => (parts.next()? == text).then_some(())?,
            Level::Any => {
                parts.next()?;
            }
            Level::Tag(tag) => {
                let value = parts.next()?;
                last_captured = true;
                if !value.is_empty() {
                    tags.push((tag.clone(), value.to_owned()));
                }
            }
        }
    }
    if parts.next().is_some() {
        return None;
    }
    let last = topic.rsplit('/').next().unwrap_or("");
    let value_field = if last_captured || last.is_empty() { "value" } else { last };
    Some(Route {
        table: rule.table.clone(),
        tags,
        value_field: value_field.to_owned(),
        decoder: rule.decoder,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt_listener::MqttListenerOptions;

    #[test]
    fn the_first_rule_that_fits_decides() {
        let map = TopicMap::new(&MqttListenerOptions::default().topics).unwrap();
        let route = map.route("sensors/site1/dev7");
        assert_eq!((route.table.as_str(), route.value_field.as_str()), ("sensors", "value"));
        assert_eq!(route.tags.len(), 2);
        let route = map.route("plant/line/temperature");
        assert_eq!((route.table.as_str(), route.value_field.as_str()), ("plant", "temperature"));
        assert_eq!(route.tags, [("topic".to_owned(), "plant/line/temperature".to_owned())]);
    }

    #[test]
    fn patterns_that_cannot_be_are_refused() {
        for pattern in ["a/#/b", "{a}/{a}", "{time}/x", "x{a}", "{}"] {
            let rule =
                TopicRule { pattern: pattern.into(), table: "t".into(), decoder: Decoder::Auto };
            assert!(TopicMap::new(&[rule]).is_err(), "{pattern}");
        }
    }
}
