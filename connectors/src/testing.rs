//! A write path in memory, of which nothing can be read.

use crate::connector::{Closed, Vault};
use futures::future::BoxFuture;
use oribi_ingest::{Error, Ingest, Receipt, Result};
use oribi_model::{
    ArrivalClock, Name, Points, ReadPath, RejectReason, Rejection, ScanSpec, SystemClock, Table,
    TableId, TableStats, TabletScan,
};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Keeps what is written. Rows of a table `refused` are rejected; `busy` makes writes fail. Rows of
/// tables whose names begin with `new` are put off until there is `room`.
pub(crate) struct Memory {
    pub(crate) written: Mutex<Vec<Points>>,
    pub(crate) databases: Mutex<Vec<Name>>,
    pub(crate) busy: Mutex<bool>,
    /// A permit lets one write through.
    pub(crate) gate: Semaphore,
    /// Writes of rows that were put off which may store them.
    pub(crate) room: Mutex<usize>,
}

impl Memory {
    /// A write path on which every write resolves at once.
    pub(crate) fn open() -> Arc<Memory> {
        Memory::gated(1 << 20)
    }

    /// A write path that lets so many writes through.
    pub(crate) fn gated(permits: usize) -> Arc<Memory> {
        Arc::new(Memory {
            written: Mutex::default(),
            databases: Mutex::default(),
            busy: Mutex::new(false),
            gate: Semaphore::new(permits),
            room: Mutex::new(0),
        })
    }

    /// Rows of a table so far.
    pub(crate) fn rows(&self, table: &str) -> usize {
        let written = self.written.lock();
        written.iter().filter(|one| one.table.as_str() == table).map(Points::rows).sum()
    }
}

impl ReadPath for Memory {
    fn table(&self, _: &str, _: &str) -> Option<Arc<Table>> {
        None
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        Vec::new()
    }

    fn stats(&self, _: TableId) -> TableStats {
        TableStats::default()
    }

    fn scan(&self, _: TableId, _: &ScanSpec, _: usize) -> oribi_model::Result<Vec<TabletScan>> {
        Ok(Vec::new())
    }
}

impl Memory {
    fn take(&self, points: Vec<Points>, has_room: impl Fn(&Points) -> bool) -> Result<Receipt> {
        if *self.busy.lock() {
            return Err(Error::Busy { reason: "full", retry_after_s: 2 });
        }
        let mut receipt = Receipt::default();
        for one in points {
            if one.table.as_str() == "refused" {
                receipt.rejected.extend(one.origins.iter().map(|origin| Rejection {
                    origin: *origin,
                    reason: RejectReason::TypeConflict,
                    detail: "field type conflict".into(),
                }));
            } else if one.table.starts_with("new") && !has_room(&one) {
                receipt.deferred.push(one);
            } else {
                receipt.rows += one.rows() as u64;
                if !one.table.is_system() {
                    receipt.new_rows += one.rows() as u64;
                }
                self.written.lock().push(one);
            }
        }
        Ok(receipt)
    }
}

impl Ingest for Memory {
    fn write(&self, points: Vec<Points>) -> BoxFuture<'_, Result<Receipt>> {
        Box::pin(async move {
            self.gate.acquire().await.unwrap().forget();
            self.take(points, |_| {
                let mut room = self.room.lock();
                let is_some = *room > 0;
                *room = room.saturating_sub(1);
                is_some
            })
        })
    }

    fn write_present(&self, points: Vec<Points>) -> BoxFuture<'_, Result<Receipt>> {
        Box::pin(async move {
            self.gate.acquire().await.unwrap().forget();
            self.take(points, |points| self.rows(&points.table) > 0)
        })
    }

    fn refused(&self, points: &[Points]) -> Vec<Rejection> {
        let refused = points.iter().filter(|one| one.table.as_str() == "refused");
        let refused = refused.flat_map(|one| &one.origins).map(|origin| Rejection {
            origin: *origin,
            reason: RejectReason::TypeConflict,
            detail: "field type conflict".into(),
        });
        refused.collect()
    }

    fn table(&self, _: &str, _: &str) -> Option<Arc<Table>> {
        None
    }

    fn databases(&self) -> Vec<Name> {
        self.databases.lock().clone()
    }

    fn create_database(&self, db: Name) -> BoxFuture<'_, Result<()>> {
        self.databases.lock().push(db);
        Box::pin(async { Ok(()) })
    }

    fn drop_database(&self, db: Name) -> BoxFuture<'_, Result<()>> {
        self.databases.lock().retain(|one| *one != db);
        Box::pin(async { Ok(()) })
    }
}

/// The machine's clock.
pub(crate) fn arrival() -> ArrivalClock {
    ArrivalClock::new(Arc::new(SystemClock))
}

/// A file below `tests/data/payloads`.
pub(crate) fn sample(path: &str) -> Vec<u8> {
    let path = samples_dir().join(path);
    std::fs::read(&path).unwrap_or_else(|wrong| panic!("cannot read {}: {wrong}", path.display()))
}

fn samples_dir() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/payloads")
}

/// A vault whose seals are numbers.
#[derive(Default)]
pub(crate) struct Drawer {
    kept: Mutex<Vec<(String, String)>>,
    /// Why nothing can be opened.
    pub(crate) closed: Mutex<Option<Closed>>,
}

impl Vault for Drawer {
    fn ready(&self) -> BoxFuture<'_, std::result::Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn seal(&self, place: &str, secret: &str) -> std::result::Result<String, String> {
        let mut kept = self.kept.lock();
        kept.push((place.to_owned(), secret.to_owned()));
        Ok((kept.len() - 1).to_string())
    }

    fn open(&self, place: &str, sealed: &str) -> std::result::Result<String, Closed> {
        if let Some(closed) = &*self.closed.lock() {
            return Err(closed.clone());
        }
        let kept = self.kept.lock();
        let found = sealed.parse::<usize>().ok().and_then(|at| kept.get(at));
        let found = found.filter(|(of, _)| of == place).map(|(_, secret)| secret.clone());
        found.ok_or_else(|| Closed::ForGood("it is for another place".into()))
    }
}
