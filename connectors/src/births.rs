//! What Sparkplug's births said, as rows of the table `_sparkplug_births`: one for each node and device
//! of a source, all at time 0, so that a later birth replaces the one before.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use oribi_decode::{points::PointsBuilder, sparkplug::LastBirth};
use oribi_model::{ColumnType, Name, Points, name::DEFAULT_DB};
use std::io::Read;

/// The table of births, in database `default`.
pub(crate) const BIRTH_TABLE: &str = "_sparkplug_births";
/// The field with a birth: Sparkplug's own format without values, zstd, base64; empty for what is
/// dead.
pub(crate) const BIRTH: &str = "birth";
/// Bytes of a birth in base64 that fit into a cell. What defines more is asked again for its births.
const BIRTH_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a birth once decompressed.
const PLAIN_BYTES_MAX: u64 = 16 << 20;
const ZSTD_LEVEL: i32 = 3;

/// Births on their way to the write path.
#[derive(Default)]
pub(crate) struct Births {
    points: Option<PointsBuilder>,
}

impl Births {
    /// Adds what a message of `source` said; `origin` is the message's.
    pub(crate) fn push(&mut self, source: &str, births: &[LastBirth], heard_ns: i64, origin: u32) {
        for birth in births.iter().filter(|birth| can_be_kept(birth)) {
            let points = self.points.get_or_insert_with(|| {
                let db = Name::new(DEFAULT_DB).expect("the default database has a legal name");
                let table = Name::new(BIRTH_TABLE).expect("the table of births has a legal name");
                PointsBuilder::new(db, table)
            });
            let series = points.series([
                ("source", source),
                ("group", &birth.edge.group),
                ("node", &birth.edge.node),
                ("device", birth.device.as_deref().unwrap_or_default()),
            ]);
            let field = points.field(BIRTH, ColumnType::Text);
            points.set_text(field, &birth.birth.as_deref().map(pack).unwrap_or_default());
            let field = points.field("heard_ms", ColumnType::Int);
            points.set_int(field, heard_ns / 1_000_000);
            points.end_row(series, 0, origin);
        }
    }

    /// The births as rows.
    pub(crate) fn finish(self) -> Option<Points> {
        self.points.map(PointsBuilder::finish)
    }
}

/// Names with control characters cannot be tags.
fn can_be_kept(birth: &LastBirth) -> bool {
    let names = [&birth.edge.group, &birth.edge.node].into_iter().chain(&birth.device);
    names.flat_map(|name| name.chars()).all(|character| !character.is_control())
}

/// Empty where it is too large.
fn pack(birth: &[u8]) -> String {
    let packed = zstd::bulk::compress(birth, ZSTD_LEVEL).unwrap_or_default();
    let text = BASE64.encode(packed);
    if text.len() > BIRTH_BYTES_MAX { String::new() } else { text }
}

/// A birth as it lies in a cell; `None`: it is dead, or was too large.
pub(crate) fn unpack(text: &str) -> Option<Vec<u8>> {
    let packed = BASE64.decode(text).ok().filter(|packed| !packed.is_empty())?;
    let mut plain = Vec::new();
    let decoder = zstd::Decoder::new(&packed[..]).ok()?;
    decoder.take(PLAIN_BYTES_MAX).read_to_end(&mut plain).ok()?;
    Some(plain)
}
