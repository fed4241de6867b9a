//! VictoriaMetrics: `/api/v1/query_range` as TSBS asks it. What TSBS calls unsupported in PromQL
//! and has an easier neighbour is asked as that neighbour and marked so.

use crate::{
    dialect::{EASIER, Phrase},
    http::encode,
    questions::{Question, Shape},
    workload::{START_NS, cpu::FIELDS},
};

pub(super) fn phrases(question: &Question) -> Vec<Phrase> {
    let fields = question.shape.fields();
    let series = selector(fields, &question.hosts);
    let (start_s, end_s) = (question.start_ns / 1_000_000_000, question.end_ns / 1_000_000_000);
    let range = |way: &'static str, query: String, start_s: i64, step_s: u32| {
        let path = format!(
            "/api/v1/query_range?query={}&start={start_s}&end={end_s}&step={step_s}",
            encode(&query)
        );
        vec![Phrase::new(way, path)]
    };
    match question.shape {
        Shape::MaxByMinute { .. } => {
            let query = format!("max(max_over_time({series}[1m])) by (__name__)");
            range("json", query, start_s, 60)
        }
        Shape::MaxByHour { .. } => {
            let query = format!("max(max_over_time({series}[1h])) by (__name__)");
            range("json", query, start_s, 3600)
        }
        Shape::MeanByHourAndHost { .. } => {
            let query = format!("avg(avg_over_time({series}[1h])) by (__name__, hostname)");
            range("json", query, start_s, 3600)
        }
        Shape::HighOfOne | Shape::HighOfAll => Vec::new(),
        // Told where the data ends, and that every host reported lately.
        Shape::LastPoint => {
            let query = encode(&format!("last_over_time({}[5m])", selector(&FIELDS, &[])));
            let time_s = question.data_end_ns / 1_000_000_000;
            let path = format!("/api/v1/query?query={query}&time={time_s}");
            vec![Phrase::new(EASIER, path)]
        }
        // Told that the five minutes before the end have rows.
        Shape::LastMinutes => {
            let query = format!("max(max_over_time({series}[1m]))");
            range(EASIER, query, end_s - 240, 60)
        }
    }
}

pub(super) fn count_path(data_end_ns: i64) -> String {
    let hours = (data_end_ns - START_NS) / 3_600_000_000_000 + 1;
    let query = encode(&format!("sum(count_over_time(cpu_usage_user[{hours}h]))"));
    format!("/api/v1/query?query={query}&time={}&nocache=1", data_end_ns / 1_000_000_000)
}

fn selector(fields: &[&str], hosts: &[String]) -> String {
    let hosts = match hosts {
        [] => String::new(),
        [one] => format!("hostname='{one}'"),
        several => format!("hostname=~'{}'", several.join("|")),
    };
    match fields {
        [one] => format!("cpu_{one}{{{hosts}}}"),
        several => {
            let comma = if hosts.is_empty() { "" } else { ", " };
            format!("{{__name__=~'cpu_({})'{comma}{hosts}}}", several.join("|"))
        }
    }
}
