//! What an answer says, in two numbers that every system must agree on.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::dialect::Dialect;

/// Rows of one or more answers, and the sum of all their numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Digest {
    /// Rows that hold a number.
    pub(crate) rows: u64,
    /// Sum of everything that is written as a number.
    pub(crate) sum: f64,
}

impl Digest {
    /// Takes in one JSON answer. VictoriaMetrics has none: its windows lie on another grid.
    ///
    /// # Errors
    /// The body is not an answer of this system.
    pub(crate) fn take(&mut self, dialect: Dialect, body: &[u8]) -> Result<()> {
        let answer: Value = serde_json::from_slice(body).context("the answer is not JSON")?;
        match dialect {
            Dialect::Oribi => self.take_rows(&answer["rows"]),
            Dialect::Questdb => self.take_rows(&answer["dataset"]),
            Dialect::Influx => {
                if let Some(error) = answer["results"][0]["error"].as_str() {
                    bail!("InfluxDB answered: {error}");
                }
                let Some(series) = answer["results"][0]["series"].as_array() else { return Ok(()) };
                series.iter().try_for_each(|one| self.take_rows(&one["values"]))
            }
            Dialect::Victoria | Dialect::Duckdb => Ok(()),
        }
    }

    fn take_rows(&mut self, rows: &Value) -> Result<()> {
        let rows = rows.as_array().context("the answer has no rows")?;
        for cells in rows.iter().filter_map(Value::as_array) {
            let mut numbers = cells.iter().filter_map(Value::as_f64).peekable();
            // InfluxDB also shows windows without rows, all their cells null.
            self.rows += u64::from(numbers.peek().is_some());
            self.sum += numbers.sum::<f64>();
        }
        Ok(())
    }
}

/// The number in the answer to [`Dialect::count_path`]; 0 where the table does not exist yet.
///
/// # Errors
/// The body is not an answer of this system.
pub(crate) fn count(dialect: Dialect, body: &[u8]) -> Result<u64> {
    let answer: Value = serde_json::from_slice(body).context("the answer is not JSON")?;
    match dialect {
        Dialect::Oribi => {
            let columns = answer["columns"].as_array().context("the answer has no columns")?;
            let place = columns.iter().position(|column| column["name"] == "count(*)");
            let place = place.context("the answer has no column count(*)")?;
            Ok(answer["rows"][0][place].as_u64().unwrap_or(0))
        }
        Dialect::Questdb | Dialect::Duckdb => Ok(answer["dataset"][0][0].as_u64().unwrap_or(0)),
        Dialect::Influx => {
            Ok(answer["results"][0]["series"][0]["values"][0][1].as_u64().unwrap_or(0))
        }
        Dialect::Victoria => {
            let text = answer["data"]["result"][0]["value"][1].as_str().unwrap_or("0");
            Ok(text.parse()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_rows_have_the_same_digest_in_every_dialect() {
        let digest = |dialect, body: &str| {
            let mut digest = Digest::default();
            digest.take(dialect, body.as_bytes()).unwrap();
            digest
        };
        let expected = Digest { rows: 2, sum: 7.5 };
        let oribi = r#"{"columns":[],"rows":[["2016-01-01T00:00:00Z",3],["x",4.5]],"stats":{}}"#;
        let influx =
            r#"{"results":[{"series":[{"values":[["t",3]]},{"values":[["t",4.5],["t",null]]}]}]}"#;
        let questdb = r#"{"dataset":[["t",3],["t",4.5]]}"#;
        assert_eq!(digest(Dialect::Oribi, oribi), expected);
        assert_eq!(digest(Dialect::Influx, influx), expected);
        assert_eq!(digest(Dialect::Questdb, questdb), expected);
        assert_eq!(digest(Dialect::Influx, r#"{"results":[{"statement_id":0}]}"#).rows, 0);
    }

    #[test]
    fn counts_are_found_in_every_dialect() {
        let oribi = r#"{"columns":[{"name":"time"},{"name":"count(*)"}],"rows":[[null,12]]}"#;
        let victoria = r#"{"data":{"result":[{"metric":{},"value":[1,"12"]}]}}"#;
        let influx = r#"{"results":[{"series":[{"values":[["1970-01-01T00:00:00Z",12]]}]}]}"#;
        assert_eq!(count(Dialect::Oribi, oribi.as_bytes()).unwrap(), 12);
        assert_eq!(count(Dialect::Victoria, victoria.as_bytes()).unwrap(), 12);
        assert_eq!(count(Dialect::Influx, influx.as_bytes()).unwrap(), 12);
        assert_eq!(count(Dialect::Questdb, br#"{"dataset":[[12]]}"#).unwrap(), 12);
    }
}
