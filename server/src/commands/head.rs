//! What the head of a file says: how its cells are divided, which columns it has, and which of them
//! is the time.

use serde_json::{Map, Value};

/// What divides the cells of a CSV file, the likeliest first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// How columns of times are spelled, letters and digits alone, the likeliest first.
const TIMES: [&str; 22] = [
    "time",
    "timestamp",
    "ts",
    "datetime",
    "dateandtime",
    "timeutc",
    "utctime",
    "timestamputc",
    "eventtime",
    "measuredat",
    "recordedat",
    "observedat",
    "sampledat",
    "createdat",
    "unixtime",
    "unixtimestamp",
    "epoch",
    "date",
    "day",
    "zeitstempel",
    "zeit",
    "datum",
];

/// The header of a CSV file as text.
pub(super) fn text(header: &[u8]) -> String {
    let header = header.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(header);
    String::from_utf8_lossy(header).trim_end_matches(['\r', '\n']).to_owned()
}

/// What divides the cells of a header: the one that stands there most often.
pub(super) fn delimiter(header: &str) -> u8 {
    let count = |delimiter: u8| split(header, delimiter).len();
    // Of equals the last one wins, so the likeliest comes last.
    DELIMITERS.into_iter().rev().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

/// The columns of a header.
pub(super) fn split(header: &str, delimiter: u8) -> Vec<String> {
    let mut columns = vec![String::new()];
    let mut is_open = false;
    for character in header.chars() {
        match character {
            '"' => is_open = !is_open,
            other if other == char::from(delimiter) && !is_open => columns.push(String::new()),
            other => columns.last_mut().into_iter().for_each(|column| column.push(other)),
        }
    }
    columns.into_iter().map(|column| column.trim().to_owned()).collect()
}

/// The names of the first object of a JSON file, or of one with an object a line. `None`: it cannot
/// be told from its head.
pub(super) fn members(head: &[u8]) -> Option<Vec<String>> {
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    let head = head.strip_prefix(b"[").unwrap_or(head);
    let mut objects = serde_json::Deserializer::from_slice(head).into_iter::<Map<String, Value>>();
    Some(objects.next()?.ok()?.into_iter().map(|(name, _)| name).collect())
}

/// The column that is the time by its name.
pub(super) fn time(columns: &[String]) -> Option<&String> {
    let plain = |column: &String| {
        column.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase()
    };
    TIMES.iter().find_map(|known| columns.iter().find(|column| plain(column) == *known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_and_columns_are_found() {
        for (header, delimiter_, columns) in [
            ("time,v", b',', &["time", "v"][..]),
            ("Time;\"a;b\";v", b';', &["Time", "a;b", "v"]),
            ("ts\tv\tw", b'\t', &["ts", "v", "w"]),
            ("a|b", b'|', &["a", "b"]),
            ("one", b',', &["one"]),
            ("a,b;c", b',', &["a", "b;c"]),
        ] {
            assert_eq!(delimiter(header), delimiter_, "{header}");
            assert_eq!(split(header, delimiter_), columns);
        }
        assert_eq!(text(b"\xEF\xBB\xBFtime,v\r\n"), "time,v");
    }

    #[test]
    fn times_are_found_by_the_usual_spellings() {
        let columns =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for name in ["time", "Time", "TIME", "_time", "@timestamp", "Date Time", "Time (UTC)", "ts"]
        {
            assert_eq!(time(&columns(&["v", name])).map(String::as_str), Some(name));
        }
        assert_eq!(time(&columns(&["Date", "Timestamp"])).map(String::as_str), Some("Timestamp"));
        assert_eq!(time(&columns(&["v", "times", "lifetime"])), None);
    }

    #[test]
    fn members_of_the_first_object() {
        for head in
            ["{\"Time\":1,\"v\":2}\n{", "[\n {\"Time\":1,\"v\":[1]}, {\"x", " {\"Time\":1,\"v\":2}"]
        {
            assert_eq!(members(head.as_bytes()).unwrap(), ["Time", "v"], "{head}");
        }
        assert_eq!(members(b"{\"cut"), None);
    }
}
