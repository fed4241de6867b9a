//! The edge nodes of Sparkplug that a source knows, and what is kept of their births.

use crate::{
    Error, Result,
    births::{BIRTH, BIRTH_TABLE, unpack},
};
use oribi_decode::sparkplug::{EdgeNode, LastBirth, SparkplugNodes};
use oribi_model::{
    ColumnRead, ColumnType, ReadPath, RowsWanted, ScanSpec, SeriesFilter, SeriesKey, Table,
    TimeRange, Value, name::DEFAULT_DB,
};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// The edge nodes that a source knows; those of one that remembers outlive the process.
pub(crate) struct EdgeNodes {
    /// `None`: nothing of it is kept.
    source: Option<Arc<str>>,
    nodes: Arc<SparkplugNodes>,
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

    pub(crate) fn shared(&self) -> &Arc<SparkplugNodes> {
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
                        tracing::warn!(source, edge = ?birth.edge, detail = &*wrong.detail, "a kept birth cannot be used");
                    }
                }
                Ok(())
            });
            loading.await.map_err(|wrong| Error::Store(wrong.to_string()))?
        };
        self.loaded.get_or_try_init(loading).await.copied()
    }
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
