//! An in-memory read path.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use axum::{
    body::Body,
    http::{Request, header},
};
use http_body_util::BodyExt;
use oribi_model::{
    Block, Column, ColumnId, ColumnKind, ColumnType, ColumnValues, Ints, Name, ReadPath,
    RowsWanted, Run, ScanSpec, Schema, SeriesKey, Table, TableId, TableOptions, TableStats,
    TabletId, TabletScan, TimeRange, Value,
};
use serde_json::{Value as Json, json};
use std::{collections::BTreeMap, sync::Arc};
use tower::ServiceExt;

/// A table's rows by key, cut into tablets of `range_ns`.
pub struct MemoryTable {
    pub table: Arc<Table>,
    pub rows: BTreeMap<(SeriesKey, i64), Vec<Option<Value>>>,
    pub range_ns: i64,
    pub block_rows: usize,
}

#[derive(Default)]
pub struct Memory(pub Vec<MemoryTable>);

impl MemoryTable {
    pub fn new(
        id: u32,
        db: &str,
        name: &str,
        tags: &[&str],
        fields: &[(&str, ColumnType)],
    ) -> MemoryTable {
        let mut columns = Vec::new();
        let mut add = |name: &str, kind, column_type| {
            let id = ColumnId(columns.len() as u32 + 1);
            let (name, ints) = (Name::new(name).unwrap(), Ints::Exact);
            columns.push(Column { id, name, kind, column_type, ints });
        };
        tags.iter().for_each(|tag| add(tag, ColumnKind::Tag, ColumnType::Text));
        fields.iter().for_each(|(field, kind)| add(field, ColumnKind::Field, *kind));
        let table = Table {
            id: TableId(id),
            db: Name::new(db).unwrap(),
            name: Name::new(name).unwrap(),
            schema: Schema { version: 1, columns },
            options: TableOptions::default(),
        };
        MemoryTable {
            table: Arc::new(table),
            rows: BTreeMap::new(),
            range_ns: i64::MAX,
            block_rows: 7,
        }
    }

    /// Tags and fields in the order of the schema; an empty tag is absent.
    pub fn put(&mut self, tags: &[&str], time: i64, fields: &[Option<Value>]) {
        let ids = (1u32..).map(ColumnId).zip(tags.iter().copied());
        self.rows.insert((SeriesKey::from_tags(ids), time), fields.to_vec());
    }

    fn columns(&self, spec: &ScanSpec, rows: &[&Vec<Option<Value>>]) -> Vec<ColumnValues> {
        let first_field = self.table.schema.tags().count() as u32 + 1;
        spec.columns
            .iter()
            .map(|read| {
                let cells = rows.iter().map(|row| row[(read.id.0 - first_field) as usize].clone());
                macro_rules! gather {
                    ($kind:ident) => {
                        ColumnValues::$kind(
                            cells
                                .map(|cell| match cell {
                                    Some(Value::$kind(value)) => Some(value),
                                    _ => None,
                                })
                                .collect(),
                        )
                    };
                }
                match read.column_type {
                    ColumnType::Int => gather!(Int),
                    ColumnType::Float => gather!(Float),
                    ColumnType::Bool => gather!(Bool),
                    ColumnType::Text => gather!(Text),
                }
            })
            .collect()
    }

    fn blocks(&self, spec: &ScanSpec, range: TimeRange) -> Vec<Block> {
        let mut wanted: Vec<_> = self
            .rows
            .iter()
            .filter(|((series, time), _)| {
                spec.time.contains(*time) && range.contains(*time) && spec.series.wants(series)
            })
            .collect();
        if spec.rows == RowsWanted::Last {
            // Rows stand by series, then by time.
            let series: Vec<_> = wanted.iter().map(|((series, _), _)| series).collect();
            let is_last = |at: usize| series.get(at + 1) != Some(&series[at]);
            let last: Vec<bool> = (0..series.len()).map(is_last).collect();
            let mut last = last.into_iter();
            wanted.retain(|_| last.next().unwrap());
        }
        wanted
            .chunks(self.block_rows)
            .map(|chunk| {
                let mut runs: Vec<Run> = Vec::new();
                for ((series, _), _) in chunk {
                    match runs.last_mut() {
                        Some(run) if run.series == *series => run.rows += 1,
                        _ => runs.push(Run { series: series.clone(), rows: 1 }),
                    }
                }
                let rows: Vec<_> = chunk.iter().map(|(_, row)| *row).collect();
                let times: Vec<i64> = chunk.iter().map(|((_, time), _)| *time).collect();
                Block { runs, times: times.into(), columns: self.columns(spec, &rows) }
            })
            .collect()
    }
}

impl ReadPath for Memory {
    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        self.tables().into_iter().find(|t| t.db.as_str() == db && t.name.as_str() == table)
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        self.0.iter().map(|table| table.table.clone()).collect()
    }

    fn stats(&self, table: TableId) -> TableStats {
        let table = self.0.iter().find(|t| t.table.id == table).unwrap();
        let times = table.rows.keys().map(|(_, time)| *time);
        let time = times.clone().min().zip(times.max()).map(|(a, b)| TimeRange::new(a, b + 1));
        TableStats { rows: table.rows.len() as u64, bytes: 0, time }
    }

    fn scan(
        &self,
        table: TableId,
        spec: &ScanSpec,
        _parts_max: usize,
    ) -> oribi_model::Result<Vec<TabletScan>> {
        let table = self.0.iter().find(|t| t.table.id == table).unwrap();
        let mut ranges: Vec<i64> =
            table.rows.keys().map(|(_, time)| time.div_euclid(table.range_ns)).collect();
        ranges.sort_unstable();
        ranges.dedup();
        Ok(ranges
            .into_iter()
            .map(|at| {
                let start = at.saturating_mul(table.range_ns);
                let range = TimeRange::new(start, start.saturating_add(table.range_ns));
                let blocks = table.blocks(spec, range);
                TabletScan {
                    tablet: TabletId(at as u64),
                    range,
                    parts: vec![Box::new(blocks.into_iter().map(Ok))],
                }
            })
            .collect())
    }
}

pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                (byte as char).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

pub fn url(path: &str, pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    format!("{path}?{}", pairs.join("&"))
}

/// The routes over an engine that anybody may ask.
pub fn router(engine: oribi_query::QueryEngine) -> axum::Router {
    oribi_query::router(engine).layer(axum::Extension(oribi_access::Access::Open))
}

/// Asks a router; a long question goes as a body.
pub async fn get(router: axum::Router, path: &str, pairs: &[(&str, &str)]) -> (u16, Json) {
    const URL_BYTES_MAX: usize = 8_000;
    let address = url(path, pairs);
    let request = if address.len() < URL_BYTES_MAX {
        Request::get(address).body(Body::empty()).unwrap()
    } else {
        let members: serde_json::Map<String, Json> =
            pairs.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
        Request::post(path).body(Body::from(Json::Object(members).to_string())).unwrap()
    };
    let response = router.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
    if status != 200 {
        assert_eq!(kind, "application/problem+json");
    }
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}
