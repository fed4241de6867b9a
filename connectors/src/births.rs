//! What Sparkplug's births said, kept as rows of the table `_sparkplug_births`: one for each node
//! and device of a source, all at time 0, so that a later birth replaces the one before.

use crate::{Error, Result};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use oribi_decode::{
    points::PointsBuilder,
    sparkplug::{EdgeNode, LastBirth, SharedNodes},
};
use oribi_model::{
    ColumnRead, ColumnType, Name, Points, ReadPath, RowsWanted, ScanSpec, SeriesFilter, SeriesKey,
    Table, TimeRange, Value, name::DEFAULT_DB,
};
use std::{io::Read, sync::Arc};
use tokio::sync::OnceCell;

/// The table of births, in database `default`.
const BIRTH_TABLE: &str = "_sparkplug_births";
/// The field with a birth: Sparkplug's own format without values, zstd, base64; empty for what is
/// dead.
const BIRTH: &str = "birth";
/// Bytes of a birth in base64 that fit into a cell. What defines more is asked again for its births.
const BIRTH_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a birth once decompressed.
const PLAIN_BYTES_MAX: u64 = 16 << 20;
const ZSTD_LEVEL: i32 = 3;

/// The edge nodes that a source knows; those of one that remembers outlive the process.
pub(crate) struct EdgeNodes {
    /// `None`: nothing of it is kept.
    source: Option<Arc<str>>,
    nodes: Arc<SharedNodes>,
    loaded: OnceCell<()>,
}

impl EdgeNodes {
    /// Nodes that are kept under the name of a source.
    pub(crate) fn of(source: Arc<str>) -> EdgeNodes {
        EdgeNodes { source: Some(source), ..EdgeNodes::forgetful() }
    }

    /// Nodes of which nothing is kept.
    pub(crate) fn forgetful() -> EdgeNodes {
        EdgeNodes { source: None, nodes: Arc::default(), loaded: OnceCell::new() }
    }

    pub(crate) fn shared(&self) -> &Arc<SharedNodes> {
        &self.nodes
    }

    /// The source under whose name births are kept.
    pub(crate) fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Takes in what is kept of `source`, unless that was done before.
    ///
    /// # Errors
    /// [`Error::Store`]: the table cannot be read.
    pub(crate) async fn load(
        self: &Arc<Self>,
        read: Arc<dyn ReadPath>,
        source: &str,
    ) -> Result<()> {
        let loading = || async {
            let (nodes, source) = (self.clone(), source.to_owned());
            let loading = tokio::task::spawn_blocking(move || {
                for birth in kept(&*read, &source)? {
                    if let Err(wrong) = nodes.nodes.restore(&birth) {
                        tracing::warn!(source, edge = ?birth.edge, detail = wrong.detail, "a kept birth cannot be used");
                    }
                }
                Ok(())
            });
            loading.await.map_err(|wrong| Error::Store(wrong.to_string()))?
        };
        self.loaded.get_or_try_init(loading).await.copied()
    }
}

/// Births on their way to the write path.
#[derive(Default)]
pub(crate) struct Births {
    points: Option<PointsBuilder>,
}

impl Births {
    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.points.as_ref().map_or(0, PointsBuilder::rows)
    }

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

fn unpack(text: &str) -> Option<Vec<u8>> {
    let packed = BASE64.decode(text).ok().filter(|packed| !packed.is_empty())?;
    let mut plain = Vec::new();
    let decoder = zstd::Decoder::new(&packed[..]).ok()?;
    decoder.take(PLAIN_BYTES_MAX).read_to_end(&mut plain).ok()?;
    Some(plain)
}

/// The births that are kept of a source.
fn kept(read: &dyn ReadPath, source: &str) -> Result<Vec<LastBirth>> {
    let Some(table) = read.table(DEFAULT_DB, BIRTH_TABLE) else { return Ok(Vec::new()) };
    let Some(birth) = table.schema.column(BIRTH) else { return Ok(Vec::new()) };
    let wanted = source.to_owned();
    let of_source = table.clone();
    let spec = ScanSpec {
        columns: vec![ColumnRead { id: birth.id, column_type: ColumnType::Text }],
        time: TimeRange::ALL,
        series: SeriesFilter::Where(Arc::new(move |series| {
            tag(&of_source, series, "source") == Some(&wanted)
        })),
        rows: RowsWanted::All,
    };
    let unreadable = |wrong: oribi_model::Error| Error::Store(wrong.to_string());
    let mut births = Vec::new();
    for tablet in read.scan(table.id, &spec, 1).map_err(unreadable)? {
        for block in tablet.parts.into_iter().flatten() {
            let block = block.map_err(unreadable)?;
            for (series, mut rows) in block.runs() {
                let cell = rows.next().and_then(|row| block.columns.first()?.get(row));
                let Some(Value::Text(text)) = cell else { continue };
                let of = |name| tag(&table, series, name).map(str::to_owned);
                let (Some(group), Some(node)) = (of("group"), of("node")) else { continue };
                let edge = EdgeNode { group, node };
                births.push(LastBirth { edge, device: of("device"), birth: unpack(&text) });
            }
        }
    }
    Ok(births)
}

fn tag<'s>(table: &Table, series: &'s SeriesKey, name: &str) -> Option<&'s str> {
    series.tag(table.schema.column(name)?.id)
}
