//! QuestDB and DuckDB: SQL.

use crate::{
    dialect::{Phrase, calls, host_is},
    http::encode,
    moment::{rfc3339, rfc3339_us},
    questions::{Question, Shape},
};

/// QuestDB as TSBS asks it: the time column is `timestamp`.
pub(super) fn questdb(question: &Question) -> Vec<Phrase> {
    let fields = question.shape.fields();
    let (start, end) = (rfc3339_us(question.start_ns), rfc3339_us(question.end_ns));
    let mut range = format!("timestamp >= '{start}' AND timestamp < '{end}'");
    if !question.hosts.is_empty() {
        range = format!("{} AND {range}", host_is(&question.hosts));
    }
    let sql = match question.shape {
        Shape::MaxByMinute { .. } => {
            let select = calls("max", fields);
            format!("SELECT timestamp, {select} FROM cpu WHERE {range} SAMPLE BY 1m")
        }
        Shape::MaxByHour { .. } => {
            let select = calls("max", fields);
            format!("SELECT timestamp, {select} FROM cpu WHERE {range} SAMPLE BY 1h")
        }
        Shape::MeanByHourAndHost { .. } => {
            let select = calls("avg", fields);
            format!("SELECT timestamp, hostname, {select} FROM cpu WHERE {range} SAMPLE BY 1h")
        }
        Shape::HighOfOne | Shape::HighOfAll => {
            format!("SELECT * FROM cpu WHERE usage_user > 90.0 AND {range}")
        }
        Shape::LastPoint => {
            "SELECT * FROM cpu LATEST ON timestamp PARTITION BY hostname".to_owned()
        }
        Shape::LastMinutes => format!(
            "SELECT timestamp, max(usage_user) FROM cpu WHERE timestamp < '{end}' SAMPLE BY 1m \
             ORDER BY timestamp DESC LIMIT 5"
        ),
    };
    vec![Phrase::new("json", format!("/exec?count=false&query={}", encode(&sql)))]
}

/// DuckDB: the time column is `time`.
pub(super) fn duckdb(question: &Question) -> Vec<Phrase> {
    let fields = question.shape.fields();
    let (start, end) = (duckdb_time(question.start_ns), duckdb_time(question.end_ns));
    let mut range = format!("time >= {start} AND time < {end}");
    if !question.hosts.is_empty() {
        range = format!("{} AND {range}", host_is(&question.hosts));
    }
    let sql = match question.shape {
        Shape::MaxByMinute { .. } => format!(
            "SELECT date_trunc('minute', time) AS t, {} FROM cpu WHERE {range} GROUP BY t ORDER BY t",
            calls("max", fields)
        ),
        Shape::MaxByHour { .. } => format!(
            "SELECT date_trunc('hour', time) AS t, {} FROM cpu WHERE {range} GROUP BY t ORDER BY t",
            calls("max", fields)
        ),
        Shape::MeanByHourAndHost { .. } => format!(
            "SELECT date_trunc('hour', time) AS t, hostname, {} FROM cpu WHERE {range} \
             GROUP BY t, hostname ORDER BY t, hostname",
            calls("avg", fields)
        ),
        Shape::HighOfOne | Shape::HighOfAll => {
            format!("SELECT * FROM cpu WHERE usage_user > 90 AND {range}")
        }
        // Far faster there than DISTINCT ON, row_number() or arg_max().
        Shape::LastPoint => {
            "SELECT cpu.* FROM cpu JOIN (SELECT hostname, max(time) AS time FROM cpu \
             GROUP BY hostname) last ON cpu.hostname = last.hostname AND cpu.time = last.time"
                .to_owned()
        }
        Shape::LastMinutes => format!(
            "SELECT date_trunc('minute', time) AS t, max(usage_user) FROM cpu WHERE time < {end} \
             GROUP BY t ORDER BY t DESC LIMIT 5"
        ),
    };
    vec![Phrase::new("embedded", sql)]
}

pub(super) fn count_path(table: &str) -> String {
    format!("/exec?query={}", encode(&format!("SELECT count() FROM {table}")))
}

fn duckdb_time(time_ns: i64) -> String {
    let text = rfc3339(time_ns);
    format!("TIMESTAMP '{}'", text[..26].replace('T', " "))
}
