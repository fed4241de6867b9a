//! Comma-separated values with a head.

use super::{cell, cell::Writer, pieces::Pieces};
use crate::{Result, answer::Stats, target::Target};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

/// CSV as RFC 4180 has it.
pub(super) struct Csv(Pieces);

impl Csv {
    pub(super) fn new(pieces: Pieces) -> Csv {
        Csv(pieces)
    }
}

impl Target for Csv {
    fn begin(&mut self, schema: &SchemaRef) -> Result<()> {
        let out = &mut self.0.open;
        for (place, field) in schema.fields().iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            cell::csv_text(out, field.name());
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn rows(&mut self, batch: RecordBatch) -> Result<()> {
        let writers = Writer::all(&batch)?;
        for row in 0..batch.num_rows() {
            let out = &mut self.0.open;
            let before = out.len();
            for (place, writer) in writers.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                writer.csv(out, row);
            }
            if out.len() == before {
                // A null alone in its line; readers skip lines of nothing.
                out.extend_from_slice(b"\"\"");
            }
            out.extend_from_slice(b"\r\n");
            self.0.cut()?;
        }
        Ok(())
    }

    fn end(&mut self, stats: Stats) -> Result<()> {
        self.0.end(stats)
    }
}
