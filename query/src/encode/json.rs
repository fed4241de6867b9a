//! JSON answers.

use super::{
    cell::{Writer, json_text},
    pieces::Pieces,
};
use crate::{Error, Result, answer::Stats, relation::type_name, target::Target};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use std::time::Duration;

/// One object: columns, rows, stats.
pub(super) struct Object {
    pieces: Pieces,
    /// What stands between the row before and the next.
    between: &'static [u8],
}

impl Object {
    pub(super) fn new(pieces: Pieces) -> Object {
        Object { pieces, between: b"" }
    }
}

impl Target for Object {
    fn begin(&mut self, schema: &SchemaRef) -> Result<()> {
        let out = &mut self.pieces.open;
        out.extend_from_slice(b"{\"columns\":[");
        for (place, field) in schema.fields().iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"name\":");
            json_text(out, field.name());
            out.extend_from_slice(b",\"type\":\"");
            out.extend_from_slice(type_name(field.data_type()).as_bytes());
            out.extend_from_slice(b"\"}");
        }
        out.extend_from_slice(b"],\"rows\":[");
        Ok(())
    }

    fn rows(&mut self, batch: RecordBatch) -> Result<()> {
        let writers = Writer::all(&batch)?;
        for row in 0..batch.num_rows() {
            let out = &mut self.pieces.open;
            out.extend_from_slice(self.between);
            self.between = b",";
            out.push(b'[');
            for (place, writer) in writers.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                writer.json(out, row);
            }
            out.push(b']');
            self.pieces.cut()?;
        }
        Ok(())
    }

    fn end(&mut self, stats: Stats) -> Result<()> {
        let out = &mut self.pieces.open;
        out.extend_from_slice(b"],\"stats\":{\"elapsed_ms\":");
        let elapsed_ms = stats.elapsed.as_micros() as f64 / 1_000.0;
        out.extend_from_slice(ryu::Buffer::new().format_finite(elapsed_ms).as_bytes());
        let mut number = |name: &str, value: u64| {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        };
        number("rows", stats.rows);
        let counted = [
            ("rows_scanned", stats.rows_scanned),
            ("series", stats.series),
            ("tablets", stats.tablets),
            ("nodes", stats.nodes),
            ("staleness_ms", stats.staleness.map(whole_ms)),
            ("served_by", stats.served_by.map(u64::from)),
        ];
        for (name, value) in counted {
            if let Some(value) = value {
                number(name, value);
            }
        }
        out.extend_from_slice(b"}}");
        self.pieces.end(stats)
    }
}

/// An age is never told shorter than it is.
fn whole_ms(age: Duration) -> u64 {
    u64::try_from(age.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// One object a row.
pub(super) struct Lines {
    pieces: Pieces,
    /// Names as they are written, with their colons.
    names: Vec<Vec<u8>>,
}

impl Lines {
    pub(super) fn new(pieces: Pieces) -> Lines {
        Lines { pieces, names: Vec::new() }
    }
}

impl Target for Lines {
    /// # Errors
    /// [`Error::Parameter`] where two columns have one name, of which readers would keep one.
    fn begin(&mut self, schema: &SchemaRef) -> Result<()> {
        let fields = schema.fields();
        for (at, field) in fields.iter().enumerate() {
            if fields[..at].iter().any(|other| other.name() == field.name()) {
                let detail = format!(
                    "two columns are named {:?}, and an object of NDJSON holds one; expected AS \
                     with another name",
                    field.name()
                );
                return Err(Error::parameter("format", detail));
            }
        }
        let written = |name: &String| {
            let mut text = Vec::new();
            json_text(&mut text, name);
            text.push(b':');
            text
        };
        self.names = fields.iter().map(|field| written(field.name())).collect();
        Ok(())
    }

    fn rows(&mut self, batch: RecordBatch) -> Result<()> {
        let writers = Writer::all(&batch)?;
        for row in 0..batch.num_rows() {
            let out = &mut self.pieces.open;
            out.push(b'{');
            for (place, (name, writer)) in self.names.iter().zip(&writers).enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(name);
                writer.json(out, row);
            }
            out.extend_from_slice(b"}\n");
            self.pieces.cut()?;
        }
        Ok(())
    }

    fn end(&mut self, stats: Stats) -> Result<()> {
        self.pieces.end(stats)
    }
}
