//! The engine as a feed of windows.

use crate::{
    Error, QueryEngine,
    question::{Group, WindowPlan},
    select::parse_select,
    windows::Windows,
};
use arrow_array::{Array, ArrayRef, RecordBatch, cast::AsArray, types};
use arrow_schema::DataType;
use jiff::Timestamp;
use oribi_model::{TimeRange, Value, WindowFeed, WindowQuestion, WindowRow, WrongMember};

impl WindowFeed for QueryEngine {
    fn check(&self, question: &WindowQuestion) -> Result<(), WrongMember> {
        plan(question, TimeRange::ALL).map(drop).map_err(|wrong| WrongMember {
            member: match &wrong {
                Error::Parameter { parameter, .. } => parameter.clone(),
                _ => "window".into(),
            },
            reason: wrong.to_string(),
        })
    }

    fn window_at(&self, question: &WindowQuestion, time: i64) -> Result<TimeRange, String> {
        let window = windows(question).map_err(|wrong| wrong.to_string())?.at(time);
        Ok(TimeRange::new(window.start, window.end))
    }

    fn windows(
        &self,
        question: &WindowQuestion,
        range: TimeRange,
    ) -> Result<Vec<WindowRow>, String> {
        if self.read_path().table(&question.db, &question.table).is_none() {
            return Ok(Vec::new());
        }
        let plan = plan(question, range).map_err(|wrong| wrong.to_string())?;
        let items = plan.items.len();
        let answer = async {
            let mut answer = self.planned(plan).await?;
            let mut rows = Vec::new();
            while let Some(batch) = answer.next().await? {
                rows.extend(rows_of(&batch, items));
            }
            Ok(rows)
        };
        let rows = tokio::runtime::Handle::current().block_on(answer);
        rows.map_err(|wrong: Error| wrong.to_string())
    }
}

fn plan(question: &WindowQuestion, range: TimeRange) -> crate::Result<WindowPlan> {
    let windows = windows(question)?;
    let items = parse_select(&question.select)?;
    let group = question.group_by.as_deref().map(str::trim).filter(|names| !names.is_empty());
    let table = (question.db.clone(), question.table.clone());
    Ok(WindowPlan::new(table, items, windows, Group::parse(group)?, range))
}

fn windows(question: &WindowQuestion) -> crate::Result<Windows> {
    Windows::parse(Some(&question.window), None, question.timezone.as_deref())
}

fn moment(ns: i64) -> String {
    Timestamp::from_nanosecond(i128::from(ns)).map(|at| at.to_string()).unwrap_or_default()
}

/// A row has the time first, then the group, then `items` columns.
fn rows_of(batch: &RecordBatch, items: usize) -> Vec<WindowRow> {
    let times = batch.column(0).as_primitive::<types::TimestampNanosecondType>();
    let fields = batch.schema_ref().fields();
    let first_item = fields.len() - items;
    let row = |row: usize| {
        let mut tags = Vec::new();
        for at in 1..first_item {
            let texts = batch.column(at).as_string::<i32>();
            if texts.is_valid(row) {
                tags.push((fields[at].name().clone(), texts.value(row).to_owned()));
            }
        }
        let values = (first_item..fields.len())
            .filter_map(|at| Some((fields[at].name().clone(), value(batch.column(at), row)?)));
        WindowRow { start: times.value(row), tags, fields: values.collect() }
    };
    (0..batch.num_rows()).map(row).collect()
}

fn value(array: &ArrayRef, row: usize) -> Option<Value> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Int64 => Value::Int(array.as_primitive::<types::Int64Type>().value(row)),
        DataType::Float64 => Value::Float(array.as_primitive::<types::Float64Type>().value(row)),
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Timestamp(..) => {
            let time = array.as_primitive_opt::<types::TimestampNanosecondType>()?.value(row);
            Value::Text(moment(time))
        }
        _ => return None,
    })
}
