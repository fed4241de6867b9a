//! Oribi: `/api/v1/query` for windows, `/api/v1/sql` for rows.

use crate::{
    dialect::{Phrase, calls, host_is},
    http::encode,
    moment::rfc3339,
    questions::{Question, Shape},
    workload::cpu::FIELDS,
};

pub(super) fn phrases(question: &Question) -> Vec<Phrase> {
    let fields = question.shape.fields();
    match question.shape {
        Shape::MaxByMinute { .. } => vec![windows(question, &calls("max", fields), "1m", "")],
        Shape::MaxByHour { .. } => vec![windows(question, &calls("max", fields), "1h", "")],
        Shape::MeanByHourAndHost { .. } => {
            vec![windows(question, &calls("mean", fields), "1h", "&group_by=hostname")]
        }
        Shape::HighOfOne | Shape::HighOfAll => {
            let sql = encode(&high(question));
            let path = |format: &str| format!("/api/v1/sql?db=benchmark&q={sql}&format={format}");
            vec![Phrase::new("json", path("json")), Phrase::new("arrow", path("arrow"))]
        }
        Shape::LastPoint => {
            let select = encode(&format!("{}, last(time)", calls("last", &FIELDS)));
            let path = format!("/api/v1/query?db=benchmark&table=cpu&select={select}&group_by=%2A");
            vec![Phrase::new("json", path)]
        }
        Shape::LastMinutes => {
            let end = encode(&rfc3339(question.end_ns));
            let select = encode(&calls("max", fields));
            let path = format!(
                "/api/v1/query?db=benchmark&table=cpu&select={select}&window=1m&end={end}\
                 &order=desc&limit=5"
            );
            vec![Phrase::new("json", path)]
        }
    }
}

pub(super) fn count_path(table: &str) -> String {
    format!("/api/v1/query?db=benchmark&table={table}&select={}", encode("count(*)"))
}

fn windows(question: &Question, select: &str, window: &str, group_by: &str) -> Phrase {
    let start = encode(&rfc3339(question.start_ns));
    let end = encode(&rfc3339(question.end_ns));
    let filter = match question.hosts.is_empty() {
        true => String::new(),
        false => format!("&where={}", encode(&host_is(&question.hosts))),
    };
    let path = format!(
        "/api/v1/query?db=benchmark&table=cpu&select={}&window={window}&start={start}&end={end}\
         {filter}{group_by}",
        encode(select)
    );
    Phrase::new("json", path)
}

fn high(question: &Question) -> String {
    let mut sql = format!(
        "SELECT * FROM cpu WHERE usage_user > 90 AND time >= '{}' \
         AND time < '{}'",
        rfc3339(question.start_ns),
        rfc3339(question.end_ns)
    );
    if !question.hosts.is_empty() {
        sql.push_str(&format!(" AND {}", host_is(&question.hosts)));
    }
    sql
}
