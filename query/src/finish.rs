//! From figures to rows: empty windows, order, limit, columns.

use crate::{
    Error, QueryOptions, Result,
    answer::{Answer, Stats},
    lane::{Known, Lane, LaneKind},
    operator::Figures,
    plan::{Fill, Order, Plan},
    relation::time_type,
    select::{Function, Input, Item},
    watch::Watch,
    windows::Windows,
};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
    TimestampNanosecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use oribi_model::{ColumnType, Value};
use std::sync::Arc;

const NO_SLOT: u32 = u32::MAX;

/// One row to come: window, group and slot, if rows fell into it.
#[derive(Clone, Copy)]
struct Cell {
    window: i64,
    group: u32,
    slot: u32,
}

/// Turns the figures of a plan into its answer.
pub(crate) fn finish(
    plan: &Plan,
    mut figures: Figures,
    options: &QueryOptions,
    watch: &Watch,
) -> Result<Answer> {
    let cells = cells(plan, &figures, options)?;
    watch.grow(cells.len() * (size_of::<Cell>() + 24 * (1 + plan.items.len())))?;
    let width = match plan.fill {
        Fill::None => 0,
        _ => cells.windows(2).take_while(|two| two[0].window == two[1].window).count() + 1,
    };
    let starts: Vec<i64> = cells.iter().map(|cell| plan.windows.start(cell.window)).collect();
    let mut columns = Vec::with_capacity(plan.items.len());
    for item in &plan.items {
        let mut column = item_column(plan, item, &mut figures, &cells)?;
        if width > 0 {
            column.fill(plan.fill, width, &starts);
        }
        columns.push(column);
    }
    let rows = order(plan, &cells);
    answer(plan, &figures, &cells, &starts, columns, &rows, options)
}

fn has_value(plan: &Plan, figures: &Figures, slot: usize) -> bool {
    plan.lanes.iter().zip(&figures.lanes).any(|(spec, lane)| match lane {
        Lane::Count(counts) if spec.kind == LaneKind::Count => counts[slot] > 0,
        _ => false,
    })
}

/// The rows by window, then group.
fn cells(plan: &Plan, figures: &Figures, options: &QueryOptions) -> Result<Vec<Cell>> {
    let mut by_name: Vec<u32> = (0..figures.groups.len() as u32).collect();
    by_name.sort_by(|a, b| {
        let key = |at: &u32| figures.groups[*at as usize].iter().map(|tag| (tag.is_none(), tag));
        key(a).cmp(key(b))
    });
    let mut rank = vec![0u32; by_name.len()];
    for (place, group) in by_name.iter().enumerate() {
        rank[*group as usize] = place as u32;
    }
    let mut found: Vec<Cell> = figures
        .slots
        .iter()
        .enumerate()
        .filter(|(slot, _)| has_value(plan, figures, *slot))
        .map(|(slot, (group, window))| Cell { window: *window, group: *group, slot: slot as u32 })
        .collect();
    found.sort_unstable_by_key(|cell| (cell.window, rank[cell.group as usize]));
    if plan.fill == Fill::None || found.is_empty() {
        return Ok(found);
    }
    let first = match plan.start {
        Some(start) => plan.windows.at(start).index,
        None => found[0].window,
    };
    let last = match plan.end {
        Some(end) => plan.windows.at(end.saturating_sub(1)).index,
        None => found[found.len() - 1].window,
    };
    let windows = last.abs_diff(first).saturating_add(1);
    if windows > options.windows_max {
        return Err(Error::TooManyWindows { windows_max: options.windows_max });
    }
    let mut live = vec![false; by_name.len()];
    found.iter().for_each(|cell| live[cell.group as usize] = true);
    by_name.retain(|group| live[*group as usize]);
    let total = windows.saturating_mul(by_name.len() as u64);
    if total > options.answer_rows_max as u64 {
        let limit = options.answer_rows_max as u64;
        return Err(Error::AnswerLimit { name: "answer_rows_max", limit });
    }
    let mut found = found.into_iter().peekable();
    let mut grid = Vec::with_capacity(total as usize);
    for window in first..=last {
        for group in &by_name {
            let cell = found.next_if(|cell| cell.window == window && cell.group == *group);
            grid.push(cell.unwrap_or(Cell { window, group: *group, slot: NO_SLOT }));
        }
    }
    Ok(grid)
}

/// Places of the rows in the order asked.
fn order(plan: &Plan, cells: &[Cell]) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..cells.len()).collect();
    if plan.order == Order::Descending {
        // Groups keep their order within a window, so whole windows are turned around.
        rows.sort_by_key(|at| std::cmp::Reverse(cells[*at].window));
    }
    rows.truncate(plan.limit.unwrap_or(usize::MAX));
    rows
}

/// Values of one column with whether the window had values of its input.
struct Column {
    values: Values,
    had: Vec<bool>,
    /// Counts stand at 0 in empty windows, whatever the fill.
    counts: Counts,
}

#[derive(PartialEq)]
enum Counts {
    Yes,
    No,
}

enum Values {
    Int(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    Bool(Vec<Option<bool>>),
    Text(Vec<Option<String>>),
    Time(Vec<Option<i64>>),
}

fn item_column(plan: &Plan, item: &Item, figures: &mut Figures, cells: &[Cell]) -> Result<Column> {
    let count_lane = plan.lane(item.input, LaneKind::Count);
    let had: Vec<bool> = match &figures.lanes[count_lane] {
        Lane::Count(counts) => cells
            .iter()
            .map(|cell| cell.slot != NO_SLOT && counts[cell.slot as usize] > 0)
            .collect(),
        _ => unreachable!("a count lane holds counts"),
    };
    let count = |figures: &Figures, cell: &Cell| match &figures.lanes[count_lane] {
        Lane::Count(counts) if cell.slot != NO_SLOT => counts[cell.slot as usize] as i64,
        _ => 0,
    };
    let Some(kind) = LaneKind::of(item.function) else {
        let values = cells.iter().map(|cell| Some(count(figures, cell))).collect();
        return Ok(Column { values: Values::Int(values), had, counts: Counts::Yes });
    };
    let counts: Vec<i64> = cells.iter().map(|cell| count(figures, cell)).collect();
    let lane = plan.lane(item.input, kind);
    let slots: Vec<Option<usize>> =
        cells.iter().zip(&had).map(|(cell, had)| had.then_some(cell.slot as usize)).collect();
    let values = lane_values(item, &mut figures.lanes[lane], &slots, &counts)?;
    let values = match (item.input, values) {
        (Input::Time, Values::Int(times)) => Values::Time(times),
        (_, values) => values,
    };
    Ok(Column { values, had, counts: Counts::No })
}

fn lane_values(
    item: &Item,
    lane: &mut Lane,
    slots: &[Option<usize>],
    counts: &[i64],
) -> Result<Values> {
    let overflow = || Error::Overflow { column: item.name.clone() };
    let fit = |sum: i128| i64::try_from(sum).map_err(|_| overflow());
    let each = |of: &dyn Fn(usize) -> Option<f64>| {
        Values::Float(slots.iter().map(|slot| slot.and_then(of)).collect())
    };
    Ok(match lane {
        Lane::SumInt(sums) if item.function == Function::Mean => Values::Float(
            slots
                .iter()
                .zip(counts)
                .map(|(slot, count)| slot.map(|slot| sums[slot] as f64 / *count as f64))
                .collect(),
        ),
        Lane::SumFloat(sums) if item.function == Function::Mean => Values::Float(
            slots
                .iter()
                .zip(counts)
                .map(|(slot, count)| slot.map(|slot| sums[slot] / *count as f64))
                .collect(),
        ),
        Lane::SumInt(sums) => Values::Int(
            slots
                .iter()
                .map(|slot| slot.map(|slot| fit(sums[slot])).transpose())
                .collect::<Result<_>>()?,
        ),
        Lane::SumFloat(sums) => each(&|slot| Some(sums[slot])),
        Lane::BestInt(_, best) => {
            Values::Int(slots.iter().map(|slot| slot.map(|slot| best[slot])).collect())
        }
        Lane::BestFloat(_, best) => each(&|slot| Some(best[slot])),
        Lane::BestOther(_, best) => {
            typed(item, slots.iter().map(|slot| slot.and_then(|slot| best[slot].clone())))
        }
        Lane::Edge(_, edges) => typed(
            item,
            slots.iter().map(|slot| {
                slot.and_then(|slot| edges[slot].as_ref().map(|edge| edge.value.clone()))
            }),
        ),
        Lane::Spread(moments) => each(&|slot| moments[slot].stddev()),
        Lane::Values(values) => {
            let Function::Percentile(fraction) = item.function else {
                unreachable!("only percentiles keep values")
            };
            Values::Float(
                slots
                    .iter()
                    .map(|slot| slot.and_then(|slot| percentile(&mut values[slot], fraction)))
                    .collect(),
            )
        }
        Lane::CounterInt(cells) if item.function == Function::Delta => Values::Int(
            slots
                .iter()
                .map(|slot| {
                    let counter = slot.and_then(|slot| cells[slot]);
                    let known = counter.filter(|counter| counter.known == Known::Yes);
                    known.map(|counter| fit(counter.delta)).transpose()
                })
                .collect::<Result<_>>()?,
        ),
        Lane::CounterInt(cells) => each(&|slot| {
            cells[slot].filter(|counter| counter.known == Known::Yes).map(|counter| counter.rate)
        }),
        Lane::CounterFloat(cells) => each(&|slot| {
            let counter = cells[slot].filter(|counter| counter.known == Known::Yes)?;
            Some(if item.function == Function::Rate { counter.rate } else { counter.delta })
        }),
        Lane::Count(_) => unreachable!("counts are no lane of their own function"),
    })
}

fn typed(item: &Item, values: impl Iterator<Item = Option<Value>>) -> Values {
    let column_type = match item.input {
        Input::Field { column_type, .. } => column_type,
        Input::Rows | Input::Time => ColumnType::Int,
    };
    macro_rules! gather {
        ($of:ident) => {
            values
                .map(|value| match value {
                    Some(Value::$of(value)) => Some(value),
                    _ => None,
                })
                .collect()
        };
    }
    match column_type {
        ColumnType::Int => Values::Int(gather!(Int)),
        ColumnType::Float => Values::Float(gather!(Float)),
        ColumnType::Bool => Values::Bool(gather!(Bool)),
        ColumnType::Text => Values::Text(gather!(Text)),
    }
}

/// The percentile as SQL's `percentile_cont`.
fn percentile(values: &mut [f64], fraction: f64) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let place = fraction * (values.len() - 1) as f64;
    let below = place.floor() as usize;
    let (_, low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let low = *low;
    let share = place - below as f64;
    if share == 0.0 {
        return Some(low);
    }
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    Some(low + (high - low) * share)
}

impl Column {
    fn fill(&mut self, fill: Fill, width: usize, starts: &[i64]) {
        if self.counts == Counts::Yes {
            return;
        }
        match fill {
            Fill::None | Fill::Null => {}
            Fill::Previous => match &mut self.values {
                Values::Int(values) | Values::Time(values) => previous(values, &self.had, width),
                Values::Float(values) => previous(values, &self.had, width),
                Values::Bool(values) => previous(values, &self.had, width),
                Values::Text(values) => previous(values, &self.had, width),
            },
            Fill::Number(number) => self.fill_number(number),
            Fill::Linear => {
                self.widen();
                if let Values::Float(values) = &mut self.values {
                    linear(values, &self.had, width, starts);
                }
            }
        }
    }

    fn widen(&mut self) {
        if let Values::Int(values) = &self.values {
            let floats = values.iter().map(|value| value.map(|value| value as f64)).collect();
            self.values = Values::Float(floats);
        }
    }

    fn fill_number(&mut self, number: f64) {
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        if number.fract() != 0.0 || number.abs() > EXACT_MAX {
            self.widen();
        }
        let empty = self.had.iter().enumerate().filter(|(_, had)| !**had);
        match &mut self.values {
            Values::Int(values) => empty.for_each(|(at, _)| values[at] = Some(number as i64)),
            Values::Float(values) => empty.for_each(|(at, _)| values[at] = Some(number)),
            _ => {}
        }
    }
}

fn previous<T: Clone>(values: &mut [Option<T>], had: &[bool], width: usize) {
    for at in width..values.len() {
        if !had[at] {
            values[at] = values[at - width].clone();
        }
    }
}

fn linear(values: &mut [Option<f64>], had: &[bool], width: usize, starts: &[i64]) {
    for group in 0..width {
        let mut left: Option<usize> = None;
        for right in (group..values.len()).step_by(width) {
            let Some(high) = values[right].filter(|_| had[right]) else { continue };
            if let Some(left) = left {
                let low = values[left].unwrap_or(high);
                let span = (starts[right] - starts[left]) as f64;
                for at in (left + width..right).step_by(width).filter(|at| !had[*at]) {
                    let share = (starts[at] - starts[left]) as f64 / span;
                    values[at] = Some(low + (high - low) * share);
                }
            }
            left = Some(right);
        }
    }
}

fn answer(
    plan: &Plan,
    figures: &Figures,
    cells: &[Cell],
    starts: &[i64],
    columns: Vec<Column>,
    rows: &[usize],
    options: &QueryOptions,
) -> Result<Answer> {
    if rows.len() > options.answer_rows_max {
        let limit = options.answer_rows_max as u64;
        return Err(Error::AnswerLimit { name: "answer_rows_max", limit });
    }
    let time = |at: &usize| match plan.windows {
        Windows::Whole => plan.start,
        _ => Some(starts[*at]),
    };
    let times: TimestampNanosecondArray = rows.iter().map(time).collect();
    let mut fields = vec![Field::new("time", time_type(), true)];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(times.with_timezone("UTC"))];
    for (place, tag) in plan.group.iter().enumerate() {
        fields.push(Field::new(tag.name.as_str(), DataType::Utf8, true));
        let values =
            rows.iter().map(|at| figures.groups[cells[*at].group as usize][place].as_deref());
        arrays.push(Arc::new(values.collect::<StringArray>()));
    }
    for (item, column) in plan.items.iter().zip(columns) {
        let array = column.array(rows);
        fields.push(Field::new(item.name.as_str(), array.data_type().clone(), true));
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields));
    let with_rows = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &with_rows)
        .map_err(|error| Error::Internal { detail: error.to_string() })?;
    if batch.get_array_memory_size() > options.answer_bytes_max {
        let limit = options.answer_bytes_max as u64;
        return Err(Error::AnswerLimit { name: "answer_bytes_max", limit });
    }
    let stats = Stats {
        rows_scanned: Some(figures.rows),
        series: Some(figures.series),
        ..Stats::default()
    };
    Ok(Answer { schema, batches: vec![batch], stats })
}

impl Column {
    fn array(self, rows: &[usize]) -> ArrayRef {
        match self.values {
            Values::Int(values) => {
                Arc::new(rows.iter().map(|at| values[*at]).collect::<Int64Array>())
            }
            Values::Float(values) => {
                Arc::new(rows.iter().map(|at| values[*at]).collect::<Float64Array>())
            }
            Values::Bool(values) => {
                Arc::new(rows.iter().map(|at| values[*at]).collect::<BooleanArray>())
            }
            Values::Text(values) => {
                Arc::new(rows.iter().map(|at| values[*at].as_deref()).collect::<StringArray>())
            }
            Values::Time(values) => {
                let times: TimestampNanosecondArray = rows.iter().map(|at| values[*at]).collect();
                Arc::new(times.with_timezone("UTC"))
            }
        }
    }
}
