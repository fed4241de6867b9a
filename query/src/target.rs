//! Where the rows of an answer go, as they come.

use crate::{Error, QueryOptions, Result, answer::Stats, delivery::Outlet, watch::Watch};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

/// Takes the rows of one answer.
pub(crate) trait Target: Send {
    /// Takes names and types, which come first and once.
    fn begin(&mut self, schema: &SchemaRef) -> Result<()>;

    /// Takes some more rows.
    fn rows(&mut self, batch: RecordBatch) -> Result<()>;

    /// Ends the answer.
    fn end(&mut self, stats: Stats) -> Result<()>;
}

/// A target within the limits of a query.
pub(crate) struct Out<'a> {
    target: &'a mut dyn Target,
    watch: &'a Watch,
    rows: usize,
    rows_max: usize,
}

impl<'a> Out<'a> {
    /// A target for as many rows as `options` allow.
    pub(crate) fn new(
        target: &'a mut dyn Target,
        options: &QueryOptions,
        watch: &'a Watch,
    ) -> Out<'a> {
        Out { target, watch, rows: 0, rows_max: options.answer_rows_max }
    }

    /// Takes names and types, which come first and once.
    pub(crate) fn begin(&mut self, schema: &SchemaRef) -> Result<()> {
        self.target.begin(schema)
    }

    /// Takes some more rows.
    ///
    /// # Errors
    /// A limit of the answer, and those of the query.
    pub(crate) fn rows(&mut self, batch: RecordBatch) -> Result<()> {
        self.watch.check()?;
        self.rows += batch.num_rows();
        if self.rows > self.rows_max {
            let limit = self.rows_max as u64;
            return Err(Error::AnswerLimit { name: "answer_rows_max", limit });
        }
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.target.rows(batch)
    }

    /// Ends the answer.
    pub(crate) fn end(self, mut stats: Stats) -> Result<()> {
        stats.rows = self.rows as u64;
        stats.served_by = self.watch.served_by().map(|node| node.0);
        stats.elapsed = self.watch.started().elapsed();
        self.target.end(stats)
    }
}

/// A part of an answer that stays in this program.
pub(crate) enum Part {
    /// Names and types.
    Schema(SchemaRef),
    /// Rows.
    Rows(RecordBatch),
}

/// Hands rows on as they are.
pub(crate) struct Whole(pub(crate) Outlet<Part>);

impl Target for Whole {
    fn begin(&mut self, schema: &SchemaRef) -> Result<()> {
        self.0.put(Part::Schema(schema.clone()))
    }

    fn rows(&mut self, batch: RecordBatch) -> Result<()> {
        self.0.put(Part::Rows(batch))
    }

    fn end(&mut self, stats: Stats) -> Result<()> {
        self.0.end(stats)
    }
}
