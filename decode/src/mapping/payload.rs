//! From a message's payload to rows.

use super::{
    Message,
    route::{Picks, Route, Tree},
    spec::Decoder,
};
use crate::preset::{self, Preset, PresetRow};
use crate::{
    Fault, bare, cbor, csv,
    document::{self, Document},
    envelope::{self, ChangeTime},
    excerpt, json,
    line_protocol::{self, Heads, Options},
    msgpack,
    number::Number,
    row::{Cell, RowRules, RowSink, TIME_MEMBERS, TimeRule},
    sparkplug::{self, EdgeNews, SparkplugNodes},
    tables::Tables,
    untimed::MessageTime,
};
use oribi_model::{ArrivalClock, RejectReason, name::TIME_COLUMN};

/// The table of Sparkplug B where a route names none.
const SPARKPLUG_TABLE: &str = "sparkplug";

/// What decoding needs besides the message.
pub(crate) struct Reading<'a> {
    pub(crate) arrival: &'a ArrivalClock,
    pub(crate) now_ns: i64,
    pub(crate) ahead_ns_max: i64,
}

impl Reading<'_> {
    /// The time of a message for its rows, if it has one.
    fn time_of(&self, message: &Message<'_>) -> Option<MessageTime> {
        let time = |first_ns| {
            MessageTime::new(first_ns, message.partition, self.now_ns, self.ahead_ns_max)
        };
        message.time_ns.map(time)
    }
}

/// Where the rows of a topic go within the open batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchSlot {
    pub(crate) table: usize,
    pub(crate) series: u32,
}

/// Whether a payload is line protocol, which names its own tables.
pub(crate) fn is_lines(payload: &[u8], route: &Route) -> bool {
    match route.picks.decoder {
        Decoder::LineProtocol => true,
        Decoder::Auto => {
            let payload = bare(payload);
            let first = payload.trim_ascii_start().first();
            let may_be = !matches!(first, None | Some(b'{' | b'[' | b'"'));
            may_be && payload.contains(&b'=') && line_protocol::begins(payload)
        }
        _ => false,
    }
}

/// Reads line protocol; rows take origins from `origin` on.
pub(crate) fn read_lines(
    message: &Message<'_>,
    route: &Route,
    tables: &mut Tables,
    heads: &mut Heads,
    reading: &Reading<'_>,
    origin: &mut u32,
) -> Result<(), Fault> {
    let mut options = Options::new(route.db.clone(), reading.arrival);
    options.ahead_ns_max = reading.ahead_ns_max;
    let message_time = reading.time_of(message);
    options.message_time = message_time.as_ref();
    let decoded =
        line_protocol::decode_into(bare(message.payload), &options, tables, heads, origin);
    decoded.map_err(|(first, more)| {
        let mut detail = format!("line {}: {}", first.origin, first.detail);
        if more > 0 {
            detail.push_str(&format!(" (and {more} more lines)"));
        }
        Fault::new(first.reason, detail)
    })
}

/// Reads a message of a well-known system; rows take origins from `origin` on.
pub(crate) fn read_preset(
    preset: Preset,
    message: &Message<'_>,
    route: &Route,
    tables: &mut Tables,
    reading: &Reading<'_>,
    origin: &mut u32,
) -> Result<(), Fault> {
    let rows = preset::rows(preset, message.topic, message.payload, &route.picks.nulls)?;
    put_rows(rows, message, route, tables, reading, origin)
}

/// Takes in a message of Sparkplug B; rows take origins from `origin` on. What it said beside its rows
/// comes along.
pub(crate) fn read_sparkplug(
    nodes: &SparkplugNodes,
    message: &Message<'_>,
    route: &Route,
    tables: &mut Tables,
    reading: &Reading<'_>,
    origin: &mut u32,
) -> (Result<(), Fault>, Option<EdgeNews>) {
    let outcome = match nodes.take(message.topic, message.payload, reading.now_ns) {
        Ok(outcome) => outcome,
        Err(fault) => return (Err(fault), None),
    };
    let row = |row: sparkplug::EdgeRow| PresetRow {
        table: Some(SPARKPLUG_TABLE.to_owned()),
        tags: row.tags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        time: row.time,
        fields: row.fields,
    };
    let rows = outcome.rows.into_iter().map(row).collect();
    let put = put_rows(rows, message, route, tables, reading, origin);
    let read = outcome.fault.map_or(put, Err);
    let news = EdgeNews { rebirth: outcome.rebirth, births: outcome.births };
    let is_news = news.rebirth.is_some() || !news.births.is_empty();
    (read, is_news.then_some(news))
}

fn put_rows(
    rows: Vec<PresetRow>,
    message: &Message<'_>,
    route: &Route,
    tables: &mut Tables,
    reading: &Reading<'_>,
    origin: &mut u32,
) -> Result<(), Fault> {
    let fixed = route.tags_of(message);
    let message_time = reading.time_of(message);
    let mut first_fault = None;
    for row in rows {
        let names: Vec<String> = row.tags.iter().map(|(name, _)| name.clone()).collect();
        let rules = RowRules {
            tags: &names,
            fixed: &fixed,
            message_time: message_time.as_ref(),
            ahead_ns_max: reading.ahead_ns_max,
            ..RowRules::new_at(reading.arrival, reading.now_ns)
        };
        let name = if route.names_table {
            &route.table
        } else {
            row.table.as_ref().unwrap_or(&route.table)
        };
        let table = tables.table_in(&route.db, name)?;
        let mut sink = RowSink::new(&rules, tables.at(table), None, *origin);
        for (name, value) in &row.tags {
            sink.set(name, Cell::Text(value));
        }
        for (name, value) in &row.fields {
            document::set_field(name, value, &mut sink);
        }
        if let Some(time) = row.time {
            sink.set_time(TIME_COLUMN, time);
        }
        sink.end_row();
        *origin = sink.origin;
        if let Some(rejected) = sink.rejected.pop() {
            first_fault.get_or_insert(Fault::new(rejected.reason, rejected.detail));
        }
    }
    first_fault.map_or(Ok(()), Err)
}

/// Reads any other payload; rows take origins from `origin` on. Good rows beside bad ones stand.
#[inline]
pub(crate) fn read_rows(
    message: &Message<'_>,
    route: &Route,
    slot: BatchSlot,
    tables: &mut Tables,
    reading: &Reading<'_>,
    origin: &mut u32,
) -> Result<(), Fault> {
    let tags = route.tags_of(message);
    let message_time = reading.time_of(message);
    let rules = RowRules {
        tags: &route.picks.tag_names,
        fixed: &tags,
        time: &route.picks.time,
        nulls: route.picks.nulls.of_times(),
        message_time: message_time.as_ref(),
        ahead_ns_max: reading.ahead_ns_max,
        ..RowRules::new_at(reading.arrival, reading.now_ns)
    };
    let series = route.has_one_series(message).then_some(slot.series);
    let builder = tables.at(slot.table);
    let mut sink = RowSink::new(&rules, builder, series, *origin);
    if let Err(fault) = read(message.payload, route, &mut sink) {
        sink.refuse(fault);
        sink.end_row();
    }
    *origin = sink.origin;
    match sink.rejected.first() {
        None => Ok(()),
        Some(first) => Err(Fault::new(first.reason, first.detail.clone())),
    }
}

#[inline]
fn read(payload: &[u8], route: &Route, sink: &mut RowSink<'_, '_>) -> Result<(), Fault> {
    let picks = &route.picks;
    match (picks.decoder, &picks.tree) {
        (
            Decoder::Msgpack
            | Decoder::Cbor
            | Decoder::Envelope
            | Decoder::Avro
            | Decoder::Protobuf,
            _,
        )
        | (Decoder::Json, Some(_)) => {
            let Some(document) = whole(picks, payload)? else { return Ok(()) };
            return match &picks.tree {
                Some(tree) => pick_rows(document, tree, sink),
                None => document::push_rows(&document, sink),
            };
        }
        _ => {}
    }
    let text = text_of(payload)?;
    if text.is_empty() && picks.nulls.has("") {
        // This is how a message that a broker has retained is deleted there.
        return Ok(());
    }
    match picks.decoder {
        Decoder::Json => json::read_objects(text, sink),
        Decoder::Auto if text.starts_with(['{', '[']) => json::read_objects(text, sink),
        Decoder::Csv => csv::read_rows(bare(payload), csv::DELIMITER, sink),
        _ => read_value(text, route, sink),
    }
}

fn text_of(payload: &[u8]) -> Result<&str, Fault> {
    let text = std::str::from_utf8(bare(payload))
        .map_err(|_| Fault::syntax("the payload is neither JSON nor UTF-8 text"))?;
    Ok(text.trim())
}

/// A payload as a tree; `None` where it holds no row on purpose.
fn whole(picks: &Picks, payload: &[u8]) -> Result<Option<Document>, Fault> {
    let change_time = match (&picks.tree, &picks.time) {
        (Some(Tree { time: Some(_), .. }), _) => ChangeTime::Left,
        (_, TimeRule::Column(name, _)) if name != TIME_COLUMN => ChangeTime::Left,
        _ => ChangeTime::Added,
    };
    if let Some(schema) = &picks.schema {
        // A change event may be written in any of these formats.
        return envelope::open(schema.decode(payload)?, change_time);
    }
    let is_text = matches!(picks.decoder, Decoder::Json | Decoder::Envelope);
    if is_text && bare(payload).trim_ascii().is_empty() && picks.nulls.has("") {
        return Ok(None);
    }
    match picks.decoder {
        Decoder::Msgpack => msgpack::read(payload).map(Some),
        Decoder::Cbor => cbor::read(payload).map(Some),
        Decoder::Envelope => envelope::open(json::read_document(text_of(payload)?)?, change_time),
        _ => json::read_documents(text_of(payload)?).map(Some),
    }
}

fn pick_rows(document: Document, tree: &Tree, sink: &mut RowSink<'_, '_>) -> Result<(), Fault> {
    let rows = match document {
        Document::List(rows) => rows,
        one => vec![one],
    };
    for row in rows {
        if !matches!(row, Document::Map(_)) {
            return Err(Fault::syntax("expected an object or an array of objects"));
        }
        pick_row(row, tree, sink);
        sink.end_row();
    }
    Ok(())
}

fn pick_row(mut row: Document, tree: &Tree, sink: &mut RowSink<'_, '_>) {
    for (tag, path) in &tree.tags {
        match path.find(&row).map(|found| (found, found.text())) {
            Some((_, Some(text))) => sink.set(tag, Cell::Text(&text)),
            None | Some((Document::Null, _)) => {}
            Some((_, None)) => {
                sink.refuse(Fault::syntax(format!("the tag {tag:?} is an object or an array")));
            }
        }
    }
    match tree.time.as_ref().and_then(|path| path.find(&row)) {
        Some(Document::Time(time)) => sink.set_time(TIME_COLUMN, *time),
        Some(Document::Int(value)) => {
            sink.set(TIME_COLUMN, Cell::Int(*value, itoa::Buffer::new().format(*value)));
        }
        Some(Document::Float(value)) => {
            // Without an exponent, which a time has not.
            sink.set(TIME_COLUMN, Cell::Float(*value, &value.to_string()));
        }
        Some(other) => {
            if let Some(text) = other.text() {
                sink.set(TIME_COLUMN, Cell::Text(&text));
            }
        }
        None => {}
    }
    if !tree.fields.is_empty() {
        let is_picked = |name: &str| tree.fields.iter().any(|(picked, _)| picked == name);
        let detected = TIME_MEMBERS.iter().find(|name| row.get(name).is_some());
        let detected = detected.filter(|name| tree.time.is_none() && !is_picked(name));
        if let Some((name, value)) = detected.and_then(|name| Some((name, row.get(name)?))) {
            document::set_field(name, value, sink);
        }
        for (name, path) in &tree.fields {
            if let Some(value) = path.find(&row) {
                document::set_field(name, value, sink);
            }
        }
        return;
    }
    let used = tree.tags.iter().map(|(_, path)| path).chain(&tree.time);
    used.for_each(|path| path.clear(&mut row));
    document::set_members(&row, sink);
}

fn read_value(text: &str, route: &Route, sink: &mut RowSink<'_, '_>) -> Result<(), Fault> {
    use json::Scalar;
    let name = &route.value_field;
    match json::read_scalar(text) {
        Ok(Scalar::Null) => return Ok(()),
        Ok(Scalar::Text(value)) if route.picks.nulls.has(&value) => return Ok(()),
        _ if route.picks.nulls.has(text) => return Ok(()),
        Ok(Scalar::Bool(value)) => sink.set_value(name, Cell::Bool(value)),
        Ok(Scalar::Number(Number::Int(value))) => sink.set_value(name, Cell::Int(value, text)),
        Ok(Scalar::Number(Number::Float(value))) => sink.set_value(name, Cell::Float(value, text)),
        Ok(Scalar::Text(value)) => sink.set_value(name, Cell::Text(&value)),
        Err(fault) if fault.reason == RejectReason::Number => return Err(fault),
        Err(fault) if text.starts_with('"') => return Err(fault),
        Err(_) => {
            let unsigned = text.trim_start_matches(['+', '-']);
            let no_number = ["nan", "inf", "infinity"];
            if no_number.iter().any(|word| unsigned.eq_ignore_ascii_case(word)) {
                let detail = format!("{} is no number that can be kept", excerpt(text, 32));
                return Err(Fault::new(RejectReason::Number, detail));
            }
            if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
                return Err(Fault::syntax("the text holds control characters"));
            }
            sink.set_value(name, Cell::Text(text));
        }
    }
    sink.end_row();
    Ok(())
}
