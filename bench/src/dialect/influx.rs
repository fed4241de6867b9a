//! InfluxDB 1.x: InfluxQL as TSBS asks it.

use crate::{
    dialect::{Phrase, calls},
    http::encode,
    moment::rfc3339,
    questions::{Question, Shape},
};

pub(super) fn phrases(question: &Question) -> Vec<Phrase> {
    let fields = question.shape.fields();
    let hosts: Vec<String> =
        question.hosts.iter().map(|host| format!("hostname = '{host}'")).collect();
    let hosts = match hosts.is_empty() {
        true => String::new(),
        false => format!("({}) and ", hosts.join(" or ")),
    };
    let end = rfc3339(question.end_ns);
    let range = format!("{hosts}time >= '{}' and time < '{end}'", rfc3339(question.start_ns));
    let text = match question.shape {
        Shape::MaxByMinute { .. } => {
            format!("SELECT {} from cpu where {range} group by time(1m)", calls("max", fields))
        }
        Shape::MaxByHour { .. } => {
            format!("SELECT {} from cpu where {range} group by time(1h)", calls("max", fields))
        }
        Shape::MeanByHourAndHost { .. } => {
            let means = calls("mean", fields);
            format!("SELECT {means} from cpu where {range} group by time(1h),hostname")
        }
        Shape::HighOfOne | Shape::HighOfAll => {
            format!("SELECT * from cpu where usage_user > 90.0 and {range}")
        }
        Shape::LastPoint => {
            "SELECT * from cpu group by \"hostname\" order by time desc limit 1".to_owned()
        }
        Shape::LastMinutes => format!(
            "SELECT max(usage_user) from cpu WHERE time < '{end}' group by time(1m) \
             order by time desc limit 5"
        ),
    };
    vec![Phrase::new("json", path(&text))]
}

pub(super) fn count_path() -> String {
    path("SELECT count(usage_user) from cpu")
}

fn path(text: &str) -> String {
    format!("/query?db=benchmark&q={}", encode(text))
}
