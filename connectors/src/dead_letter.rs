//! What arrived and could not become rows: kept as rows of the table `_dead_letters`.

mod read;
mod record;

pub use read::WithDeadLetters;
pub use record::Around;

use base64::Engine;
use oribi_decode::points::PointsBuilder;
use oribi_model::{ColumnType, Name, Points, RejectReason, name::DEFAULT_DB};
use xxhash_rust::xxh3::xxh3_64;

/// The table of dead letters, in database `default`.
pub const DEAD_LETTER_TABLE: &str = "_dead_letters";
/// Bytes of a payload that are kept.
pub const PAYLOAD_BYTES_MAX: usize = 48 * 1024;

/// The column of what a Kafka record has around its payload.
const RECORD: &str = "record";
const TAGS: [&str; 3] = ["source", "reason", "partition"];

fn fields() -> [(&'static str, ColumnType); 10] {
    use ColumnType::{Int, Text};
    [
        ("topic", Text),
        ("detail", Text),
        ("client_id", Text),
        ("payload", Text),
        ("encoding", Text),
        ("xxh3", Text),
        (RECORD, Text),
        ("payload_bytes", Int),
        ("packet_id", Int),
        ("offset", Int),
    ]
}

/// One message that could not be decoded or did not fit.
#[derive(Debug, Clone, Copy)]
pub struct DeadLetter<'a> {
    /// Which connector it came by.
    pub source: &'a str,
    /// Why.
    pub reason: RejectReason,
    /// What was wrong, for a person.
    pub detail: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The payload, or as much of it as is at hand.
    pub payload: &'a [u8],
    /// Bytes of the whole payload.
    pub payload_bytes: u64,
    /// Who sent it.
    pub client_id: &'a str,
    /// The packet; 0 for QoS 0.
    pub packet_id: u16,
    /// Partition and offset of a Kafka record.
    pub place: Option<(i32, i64)>,
    /// Key and headers of a Kafka record.
    pub around: &'a Around,
}

/// Dead letters on their way to the write path.
#[derive(Debug)]
pub struct DeadLetters {
    points: PointsBuilder,
}

impl DeadLetters {
    /// No dead letters yet.
    pub fn new() -> DeadLetters {
        let db = Name::new(DEFAULT_DB).expect("the default database has a legal name");
        let table = Name::new(DEAD_LETTER_TABLE).expect("the dead-letter table has a legal name");
        DeadLetters { points: PointsBuilder::new(db, table) }
    }

    /// Adds one. A Kafka record has its partition as a tag, so that its time, which is made of the
    /// record's own and its offset, names it.
    pub fn push(&mut self, letter: &DeadLetter<'_>, time_ns: i64, origin: u32) {
        let points = &mut self.points;
        let partition = letter.place.map(|(partition, _)| partition.to_string());
        let values =
            [letter.source, letter.reason.as_str(), partition.as_deref().unwrap_or_default()];
        let series = points.series(std::array::from_fn::<_, 3, _>(|at| (TAGS[at], values[at])));
        let mut text = |name: &str, value: &str| {
            let field = points.field(name, ColumnType::Text);
            points.set_text(field, value);
        };
        text("topic", letter.topic);
        text("detail", letter.detail);
        if letter.place.is_none() {
            text("client_id", letter.client_id);
        }
        let kept = &letter.payload[..letter.payload.len().min(PAYLOAD_BYTES_MAX)];
        match std::str::from_utf8(kept) {
            Ok(payload) => text("payload", payload),
            Err(_) => {
                text("payload", &base64::engine::general_purpose::STANDARD.encode(kept));
                text("encoding", "base64");
            }
        }
        text("xxh3", &format!("{:016x}", xxh3_64(letter.payload)));
        if let Some(record) = letter.around.to_json() {
            text(RECORD, &record);
        }
        let mut int = |name: &str, value: i64| {
            let field = points.field(name, ColumnType::Int);
            points.set_int(field, value);
        };
        int("payload_bytes", i64::try_from(letter.payload_bytes).unwrap_or(i64::MAX));
        match letter.place {
            None => int("packet_id", i64::from(letter.packet_id)),
            Some((_, offset)) => int("offset", offset),
        }
        points.end_row(series, time_ns, origin);
    }

    /// The dead letters as rows.
    pub fn finish(self) -> Points {
        self.points.finish()
    }
}

impl Default for DeadLetters {
    fn default() -> DeadLetters {
        DeadLetters::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_read_before_the_first_letter_has_the_columns_that_letters_write() {
        let around = Around { key: Some(b"k".to_vec()), headers: Vec::new() };
        let letter = |place| DeadLetter {
            around: &around,
            source: "mqtt",
            reason: RejectReason::Syntax,
            detail: "why",
            topic: "a/b",
            payload: b"\xff",
            payload_bytes: 1,
            client_id: "c",
            packet_id: 1,
            place,
        };
        let mut letters = DeadLetters::new();
        letters.push(&letter(None), 1, 0);
        letters.push(&letter(Some((3, 7))), 2, 1);
        let points = letters.finish();
        let mut tags: Vec<&str> = points.tags.iter().map(String::as_str).collect();
        tags.sort_unstable_by_key(|name| TAGS.iter().position(|tag| tag == name));
        assert_eq!(tags, TAGS);
        let column_type = |name: &str| {
            points.fields.iter().find(|field| field.name == name).map(|f| f.values.column_type())
        };
        for (name, of) in fields() {
            assert_eq!(column_type(name), Some(of), "{name}");
        }
        assert_eq!(points.fields.len(), fields().len());
    }
}
