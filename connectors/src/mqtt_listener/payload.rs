//! From a message's payload to rows.

use super::{options::Decoder, topics::Route};
use crate::decode::{
    Fault, csv, excerpt, json,
    line_protocol::{self, Options},
    number::Number,
    row::{Cell, RowRules, RowSink},
    table::Tables,
};
use oribi_model::{ArrivalClock, Name, RejectReason, name::DEFAULT_DB};

/// What decoding needs besides the message.
pub(super) struct Context<'a> {
    pub(super) arrival: &'a ArrivalClock,
    pub(super) now_ns: i64,
    pub(super) ahead_ns_max: i64,
}

/// Where the rows of a topic go within the open batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) table: usize,
    pub(super) series: u32,
}

/// Whether a payload is line protocol, which names its own tables.
pub(super) fn is_lines(payload: &[u8], route: &Route, arrival: &ArrivalClock) -> bool {
    match route.decoder {
        Decoder::LineProtocol => true,
        Decoder::Auto => {
            let first = payload.trim_ascii_start().first();
            let may_be = !matches!(first, None | Some(b'{' | b'[' | b'"'));
            may_be && payload.contains(&b'=') && line_protocol::is_line_protocol(payload, arrival)
        }
        _ => false,
    }
}

/// Reads line protocol; rows take origins from `origin` on.
pub(super) fn read_lines(
    payload: &[u8],
    tables: &mut Tables,
    context: &Context<'_>,
    origin: &mut u32,
) -> Result<(), Fault> {
    let db = Name::new(DEFAULT_DB).expect("the default database has a legal name");
    let mut options = Options::new(db, context.arrival);
    options.ahead_ns_max = context.ahead_ns_max;
    line_protocol::decode_into(payload, &options, tables, origin).map_err(|rejected| {
        let first = &rejected[0];
        Fault::new(first.reason, format!("line {}: {}", first.origin, first.detail))
    })
}

/// Reads any other payload; rows take origins from `origin` on. Good rows beside bad ones stand.
#[inline]
pub(super) fn read_rows(
    payload: &[u8],
    route: &Route,
    place: Place,
    tables: &mut Tables,
    context: &Context<'_>,
    origin: &mut u32,
) -> Result<(), Fault> {
    let rules = RowRules {
        fixed: &route.tags,
        ahead_ns_max: context.ahead_ns_max,
        ..RowRules::new_at(context.arrival, context.now_ns)
    };
    // C programs send the end of their string along.
    let payload = payload.strip_suffix(b"\0").unwrap_or(payload);
    let text = std::str::from_utf8(payload)
        .map_err(|_| Fault::syntax("the payload is neither JSON nor UTF-8 text"))?;
    let text = text.trim();
    let builder = tables.at(place.table);
    let mut sink = RowSink::new(&rules, builder, Some(place.series), *origin);
    let is_json = match route.decoder {
        Decoder::Json => true,
        Decoder::Auto => text.starts_with(['{', '[']),
        _ => false,
    };
    let read = match route.decoder {
        _ if text.is_empty() => Err(Fault::syntax("the payload is empty")),
        _ if is_json => json::read_rows(text, &mut sink),
        Decoder::Csv => csv::read_rows(payload, &mut sink),
        _ => read_value(text, route, &mut sink),
    };
    if let Err(fault) = read {
        sink.refuse(fault);
        sink.end_row();
    }
    *origin = sink.origin;
    match sink.rejected.first() {
        None => Ok(()),
        Some(first) => Err(Fault::new(first.reason, first.detail.clone())),
    }
}

fn read_value(text: &str, route: &Route, sink: &mut RowSink<'_, '_>) -> Result<(), Fault> {
    use json::Scalar;
    let name = &route.value_field;
    match json::read_scalar(text) {
        Ok(Scalar::Null) => return Err(Fault::syntax("the payload is null")),
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
