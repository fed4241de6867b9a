//! The write path as one token sees it.

use crate::{Error, Ingest, Receipt, Result};
use futures::future::BoxFuture;
use oribi_access::{Access, May, Needs};
use oribi_model::{Name, Points, RejectReason, Rejection, Table};
use std::sync::Arc;

/// `ingest`, as who writes may use it.
pub fn granted(ingest: Arc<dyn Ingest>, access: &Access) -> Arc<dyn Ingest> {
    match access.is_unlimited() {
        true => ingest,
        false => Arc::new(Granted { ingest, access: access.clone() }),
    }
}

struct Granted {
    ingest: Arc<dyn Ingest>,
    access: Access,
}

impl Granted {
    /// Takes out the rows of tables that may not be written to.
    ///
    /// # Errors
    /// [`Error::Forbidden`] where no row is left.
    fn split(&self, points: Vec<Points>) -> Result<(Vec<Points>, Vec<Rejection>)> {
        let may = |points: &Points| self.access.may(May::Write, &points.db, &points.table);
        let (allowed, denied): (Vec<_>, Vec<_>) = points.into_iter().partition(may);
        match denied.first() {
            Some(first) if allowed.is_empty() => {
                let (db, table) = (&first.db, &first.table);
                self.access.check(May::Write, db, table).map_err(forbidden)?;
            }
            _ => {}
        }
        Ok((allowed, denied.iter().flat_map(rejections).collect()))
    }

    async fn within(
        &self,
        points: Vec<Points>,
        write: impl AsyncFnOnce(Vec<Points>) -> Result<Receipt>,
    ) -> Result<Receipt> {
        let (allowed, rejected) = self.split(points)?;
        let mut receipt = write(allowed).await?;
        if !rejected.is_empty() {
            receipt.add(Receipt { rejected, ..Receipt::default() });
        }
        Ok(receipt)
    }
}

fn rejections(points: &Points) -> impl Iterator<Item = Rejection> {
    let detail: Arc<str> =
        format!("the token may not write to table {:?}", points.table.as_str()).into();
    points.origins.iter().map(move |origin| Rejection {
        origin: *origin,
        reason: RejectReason::Forbidden,
        detail: detail.clone(),
    })
}

fn forbidden(needs: Needs) -> Error {
    Error::Forbidden(Box::new(needs))
}

impl Ingest for Granted {
    fn write(&self, points: Vec<Points>) -> BoxFuture<'_, Result<Receipt>> {
        Box::pin(self.within(points, async |allowed| self.ingest.write(allowed).await))
    }

    fn write_present(&self, points: Vec<Points>) -> BoxFuture<'_, Result<Receipt>> {
        Box::pin(self.within(points, async |allowed| self.ingest.write_present(allowed).await))
    }

    fn refused(&self, points: &[Points]) -> Vec<Rejection> {
        let may = |points: &&Points| self.access.may(May::Write, &points.db, &points.table);
        let (allowed, denied): (Vec<&Points>, Vec<&Points>) = points.iter().partition(may);
        let allowed: Vec<Points> = allowed.into_iter().cloned().collect();
        let mut refused = self.ingest.refused(&allowed);
        refused.extend(denied.into_iter().flat_map(rejections));
        refused.sort_by_key(|rejection| rejection.origin);
        refused
    }

    fn check_write(&self, db: &str, table: Option<&str>) -> Result<()> {
        match table {
            Some(table) => self.access.check(May::Write, db, table).map_err(forbidden),
            None if self.access.may_write_in(Some(db)) => Ok(()),
            None => Err(forbidden(Needs::database(May::Write, db))),
        }
    }

    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        self.access.may(May::Write, db, table).then(|| self.ingest.table(db, table)).flatten()
    }

    fn databases(&self) -> Vec<Name> {
        let mut names = self.ingest.databases();
        names.retain(|db| self.access.reaches(db));
        names
    }

    fn create_database(&self, db: Name) -> BoxFuture<'_, Result<()>> {
        match self.access.check_database(May::Write, &db) {
            Ok(()) => self.ingest.create_database(db),
            Err(needs) => Box::pin(async { Err(forbidden(needs)) }),
        }
    }

    fn drop_database(&self, db: Name) -> BoxFuture<'_, Result<()>> {
        match self.access.check_database(May::Admin, &db) {
            Ok(()) => self.ingest.drop_database(db),
            Err(needs) => Box::pin(async { Err(forbidden(needs)) }),
        }
    }
}
