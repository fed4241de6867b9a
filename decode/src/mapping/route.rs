//! From topics to tables and tags.

use super::{
    Message,
    error::RouteError,
    pattern::{Captures, Pattern, TopicFilter, TopicStyle},
    schema::{SchemaPlaces, SchemaSource},
    select::{Path, Selector},
    spec::{Decoder, RouteSpec},
};
use crate::{nulls::Nulls, preset::Preset, row::TimeRule, time::Precision};
use oribi_model::{
    Name,
    name::{DEFAULT_DB, TIME_COLUMN},
};
use std::{borrow::Cow, sync::Arc};

/// The tag of a Kafka record's key where a route names no tags.
const KEY_TAG: &str = "key";

/// What a topic means.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) db: Name,
    pub(crate) table: String,
    /// Whether the configuration says so.
    pub(crate) names_table: bool,
    /// Tags of every row, empty values left out.
    tags: Vec<(String, String)>,
    /// The field of a bare value.
    pub(crate) value_field: String,
    pub(crate) picks: Arc<Picks>,
}

/// What is read from where in a message.
#[derive(Debug, Clone)]
pub(crate) struct Picks {
    pub(crate) decoder: Decoder,
    pub(crate) preset: Option<Preset>,
    /// By what Avro and Protobuf are read.
    pub(crate) schema: Option<SchemaSource>,
    /// Tags from the record around the payload.
    record_tags: Vec<(String, Selector)>,
    /// Tags that are columns or members of the payload, by name.
    pub(crate) tag_names: Vec<String>,
    pub(crate) time: TimeRule,
    pub(crate) nulls: Nulls,
    /// Set where values have to be picked from a payload read as a whole.
    pub(crate) tree: Option<Tree>,
}

/// Paths into a payload.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(super) tags: Vec<(String, Path)>,
    /// None: all members that are neither tag nor time.
    pub(super) fields: Vec<(String, Path)>,
    pub(super) time: Option<Path>,
}

impl Route {
    /// The tags that all rows of a message have.
    pub(crate) fn tags_of(&self, message: &Message<'_>) -> Cow<'_, [(String, String)]> {
        if self.picks.record_tags.is_empty() {
            return Cow::Borrowed(&self.tags);
        }
        let mut tags = self.tags.clone();
        for (name, selector) in &self.picks.record_tags {
            let value = match selector {
                Selector::Key => message.key,
                Selector::Header(header) => {
                    message.headers.iter().find(|(name, _)| name == header).map(|(_, value)| *value)
                }
                _ => None,
            };
            let text = value.and_then(|value| std::str::from_utf8(value).ok());
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                tags.push((name.clone(), text.to_owned()));
            }
        }
        Cow::Owned(tags)
    }

    /// Whether all rows of messages such as this one have the same tags: none come from the payload,
    /// from the record around it, or with the message's time.
    pub(crate) fn has_one_series(&self, message: &Message<'_>) -> bool {
        self.picks.record_tags.is_empty()
            && self.picks.tag_names.is_empty()
            && message.time_ns.is_none()
    }
}

/// All routes in order.
#[derive(Debug, Clone)]
pub struct Routes {
    routes: Vec<Compiled>,
    style: TopicStyle,
    unrouted: Arc<Picks>,
    default_db: Name,
}

#[derive(Debug, Clone)]
struct Compiled {
    topics: Vec<TopicFilter>,
    pattern: Option<Pattern>,
    db: Name,
    table: Option<String>,
    constants: Vec<(String, String)>,
    /// (tag, capture) where they differ in name.
    renamed: Vec<(String, String)>,
    picks: Arc<Picks>,
}

impl Routes {
    /// Compiles routes; `key` is how the configuration calls their list.
    ///
    /// # Errors
    /// [`RouteError`] names the key and what was expected.
    pub fn new(
        specs: &[RouteSpec],
        style: TopicStyle,
        places: &SchemaPlaces,
        key: &str,
    ) -> Result<Routes, RouteError> {
        let compile = |(at, spec): (usize, &RouteSpec)| {
            compile(spec, style, places).map_err(|(member, reason)| RouteError {
                key: format!("{key}[{at}].{member}"),
                reason,
            })
        };
        let routes = specs.iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        let record_tags = match style {
            TopicStyle::Kafka => vec![(KEY_TAG.to_owned(), Selector::Key)],
            TopicStyle::Mqtt => Vec::new(),
        };
        let unrouted = Picks {
            decoder: Decoder::Auto,
            preset: None,
            schema: None,
            record_tags,
            tag_names: Vec::new(),
            time: TimeRule::Detect,
            nulls: Nulls::default(),
            tree: None,
        };
        let default_db = Name::new(DEFAULT_DB).expect("the default database has a legal name");
        Ok(Routes { routes, style, unrouted: Arc::new(unrouted), default_db })
    }

    /// Whether some messages need a schema of the registry.
    pub(crate) fn has_registry(&self) -> bool {
        let asks = |route: &Compiled| matches!(route.picks.schema, Some(SchemaSource::Registry(_)));
        self.routes.iter().any(asks)
    }

    /// The first route that takes the topic, or the default one.
    pub(crate) fn route(&self, topic: &str) -> Route {
        let route = self.routes.iter().find_map(|route| route.resolve(topic));
        route.unwrap_or_else(|| self.default_route(topic))
    }

    fn default_route(&self, topic: &str) -> Route {
        let (db, picks) = (self.default_db.clone(), self.unrouted.clone());
        match self.style {
            TopicStyle::Kafka => {
                let (table, value_field) = (topic.to_owned(), "value".to_owned());
                Route { db, table, names_table: false, tags: Vec::new(), value_field, picks }
            }
            TopicStyle::Mqtt => {
                let table = first_level(topic).to_owned();
                let tags = vec![("topic".to_owned(), topic.to_owned())];
                let value_field = value_field(topic, false);
                Route { db, table, names_table: false, tags, value_field, picks }
            }
        }
    }
}

/// The first level of a topic that is not empty: a leading slash names no table.
fn first_level(topic: &str) -> &str {
    topic.split('/').find(|level| !level.is_empty()).unwrap_or(topic)
}

/// The last level of a topic, or `value` where there is none or it is a tag.
fn value_field(topic: &str, is_tag: bool) -> String {
    match topic.rsplit('/').next() {
        Some(last) if !is_tag && !last.is_empty() => last.to_owned(),
        _ => "value".to_owned(),
    }
}

impl Compiled {
    fn resolve(&self, topic: &str) -> Option<Route> {
        let mut captures = Captures::default();
        if !self.topics.is_empty() {
            captures = self.topics.iter().find_map(|filter| filter.captures(topic))?;
        }
        if let Some(pattern) = &self.pattern {
            let more = pattern.captures(topic)?;
            captures.has_last = more.has_last;
            captures.values.extend(more.values);
        }
        let mut used: Vec<&str> = Vec::new();
        let table = match &self.table {
            Some(template) => fill(template, &captures, &mut used),
            None => first_level(topic).to_owned(),
        };
        let mut tags = self.constants.clone();
        for (tag, capture) in &self.renamed {
            used.push(capture);
            if let Some(value) = captures.get(capture) {
                tags.push((tag.clone(), value.to_owned()));
            }
        }
        let value_field = value_field(topic, captures.has_last);
        let rest = captures.values.iter().filter(|(name, _)| !used.contains(&&**name));
        tags.extend(rest.cloned());
        let (db, picks, names_table) = (self.db.clone(), self.picks.clone(), self.table.is_some());
        Some(Route { db, table, names_table, tags, value_field, picks })
    }
}

/// Replaces each `{name}` by what was captured.
fn fill<'t>(template: &'t str, captures: &Captures, used: &mut Vec<&'t str>) -> String {
    let (mut filled, mut rest) = (String::new(), template);
    while let Some((before, name, after)) = next_place(rest) {
        filled.push_str(before);
        filled.push_str(captures.get(name).unwrap_or_default());
        used.push(name);
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// What stands before the first `{name}`, the name, and what comes after.
fn next_place(template: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = template.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

type Wrong = (&'static str, String);

fn compile(spec: &RouteSpec, style: TopicStyle, places: &SchemaPlaces) -> Result<Compiled, Wrong> {
    let topics = spec.topics.iter().map(|topic| TopicFilter::parse(topic, style));
    let topics = topics.collect::<Result<Vec<_>, _>>().map_err(|wrong| ("topics", wrong))?;
    let pattern = spec.pattern.as_deref().map(Pattern::parse).transpose();
    let pattern = pattern.map_err(|wrong| ("pattern", wrong))?;
    if topics.is_empty() && pattern.is_none() {
        return Err(("topics", "a route needs topics or a pattern".into()));
    }
    let known: Vec<String> = {
        let of_filters = topics.iter().flat_map(TopicFilter::names);
        of_filters.chain(pattern.iter().flat_map(Pattern::names)).map(str::to_owned).collect()
    };
    let db = Name::new(spec.db.as_deref().unwrap_or(DEFAULT_DB));
    let db = db.map_err(|wrong| ("db", wrong.to_string()))?;
    if let Some(table) = &spec.table {
        check_table(table, &known).map_err(|wrong| ("table", wrong))?;
    }
    let (mut constants, mut renamed, mut paths) = (Vec::new(), Vec::new(), Vec::new());
    let mut record_tags = Vec::new();
    for (name, text) in &spec.tags {
        let wrong = |reason: String| ("tags", format!("{name}: {reason}"));
        check_column(name).map_err(wrong)?;
        match Selector::parse(text).map_err(wrong)? {
            Selector::Constant(text) if text.is_empty() => {}
            Selector::Constant(text) => constants.push((name.clone(), text)),
            Selector::Capture(capture) if known.contains(&capture) => {
                renamed.push((name.clone(), capture));
            }
            Selector::Capture(capture) => {
                return Err(wrong(format!("nothing captures {capture:?}")));
            }
            Selector::Path(path) => paths.push((name.clone(), path)),
            record if style == TopicStyle::Kafka => record_tags.push((name.clone(), record)),
            _ => return Err(wrong("only Kafka records have a key and headers".into())),
        }
    }
    if style == TopicStyle::Kafka && spec.tags.is_empty() {
        record_tags.push((KEY_TAG.to_owned(), Selector::Key));
    }
    let schema = SchemaSource::of(spec, places)?;
    let picks = Arc::new(picks(spec, schema, record_tags, paths)?);
    Ok(Compiled { topics, pattern, db, table: spec.table.clone(), constants, renamed, picks })
}

fn picks(
    spec: &RouteSpec,
    schema: Option<SchemaSource>,
    record_tags: Vec<(String, Selector)>,
    tags: Vec<(String, Path)>,
) -> Result<Picks, Wrong> {
    let unit = match spec.time_unit.as_deref() {
        None => None,
        Some(text) => {
            let wrong = || format!("{text:?} is no unit; expected ns, us, ms, s, m or h");
            Some(Precision::parse(text).ok_or_else(|| ("time_unit", wrong()))?)
        }
    };
    let time = spec.time.as_deref().map(Path::parse).transpose();
    let time = time.map_err(|wrong| ("time", wrong))?;
    let field = |(name, text): (&String, &String)| {
        let wrong = |reason: String| ("fields", format!("{name}: {reason}"));
        check_column(name).map_err(wrong)?;
        Ok((name.clone(), Path::parse(text).map_err(wrong)?))
    };
    let fields = spec.fields.iter().map(field).collect::<Result<Vec<_>, Wrong>>()?;
    let is_plain = fields.is_empty()
        && tags.iter().all(|(name, path)| path.only_member() == Some(name))
        && time.as_ref().is_none_or(|path| path.only_member().is_some());
    let tag_names: Vec<String> = tags.iter().map(|(name, _)| name.clone()).collect();
    let rule = match (&time, unit) {
        (Some(path), unit) if is_plain => {
            TimeRule::Column(path.only_member().unwrap_or(TIME_COLUMN).to_owned(), unit)
        }
        (Some(_), unit) => TimeRule::Column(TIME_COLUMN.to_owned(), unit),
        (None, Some(unit)) => TimeRule::DetectAs(unit),
        (None, None) => TimeRule::Detect,
    };
    let tree = (!is_plain).then_some(Tree { tags, fields, time });
    let decoder = match (spec.decoder, &tree) {
        (Decoder::Auto, Some(_)) => Decoder::Json,
        (decoder @ (Decoder::LineProtocol | Decoder::Value | Decoder::Csv), Some(_)) => {
            let reason = format!("{decoder:?} payloads have no paths to pick from");
            return Err(("decoder", reason));
        }
        (decoder, _) => decoder,
    };
    let has_picks = tree.is_some() || rule != TimeRule::Detect || !tag_names.is_empty();
    if spec.preset.is_some() && (spec.decoder != Decoder::Auto || has_picks) {
        return Err(("preset", "a preset says itself what is tag, field and time".into()));
    }
    if spec.decoder == Decoder::SparkplugB && has_picks {
        return Err(("decoder", "Sparkplug B says itself what is tag, field and time".into()));
    }
    let nulls = Nulls::new(spec.nulls.as_ref());
    let (preset, time) = (spec.preset, rule);
    Ok(Picks { decoder, preset, schema, record_tags, tag_names, time, nulls, tree })
}

fn check_table(template: &str, known: &[String]) -> Result<(), String> {
    let mut rest = template;
    let mut plain = String::new();
    while let Some((before, name, after)) = next_place(rest) {
        if !known.iter().any(|known| known == name) {
            return Err(format!("nothing captures {name:?}"));
        }
        plain.push_str(before);
        plain.push('x');
        rest = after;
    }
    plain.push_str(rest);
    Name::user_table(&plain).map(drop).map_err(|wrong| wrong.to_string())
}

fn check_column(name: &str) -> Result<(), String> {
    if name == TIME_COLUMN {
        return Err("`time` is the event time".into());
    }
    Name::new(name).map(drop).map_err(|wrong| wrong.to_string())
}
