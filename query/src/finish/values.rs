//! From the figures of a lane to the values of a column.

use super::{
    cells::Cell,
    column::{Column, Counts, Values},
};
use crate::{
    Error, Result,
    lane::{Lane, LaneKind},
    operator::Figures,
    plan::Plan,
    select::{Function, Input, Item},
};
use oribi_model::{ColumnType, Value};

/// The column that an item asks for; a cell of `found` has a value of some input, which need not
/// be that of the item.
pub(super) fn item_column(
    plan: &Plan,
    item: &Item,
    figures: &mut Figures,
    found: &[Cell],
) -> Result<Column> {
    let count_lane = plan.lane(item.input, LaneKind::Count);
    let Lane::Count(counts) = &figures.lanes[count_lane] else {
        unreachable!("a count lane holds counts")
    };
    let counts: Vec<i64> = found.iter().map(|cell| counts[cell.place as usize] as i64).collect();
    let Some(kind) = LaneKind::of(item.function) else {
        let values = counts.into_iter().map(Some).collect();
        return Ok(Column { values: Values::Int(values), counts: Counts::Yes });
    };
    let lane = plan.lane(item.input, kind);
    let slot = |(cell, count): (&Cell, &i64)| (*count > 0).then_some(cell.place as usize);
    let slots: Vec<Option<usize>> = found.iter().zip(&counts).map(slot).collect();
    let values = match (item.input, lane_values(item, &mut figures.lanes[lane], &slots, &counts)?) {
        (Input::Time, Values::Int(times)) => Values::Time(times),
        (_, values) => values,
    };
    Ok(Column { values, counts: Counts::No })
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
                .map(|(slot, count)| slot.map(|slot| sums[slot].value() / *count as f64))
                .collect(),
        ),
        Lane::SumInt(sums) => Values::Int(
            slots
                .iter()
                .map(|slot| slot.map(|slot| fit(sums[slot])).transpose())
                .collect::<Result<_>>()?,
        ),
        Lane::SumFloat(sums) => each(&|slot| Some(sums[slot].value())),
        Lane::BestInt(_, best) => {
            Values::Int(slots.iter().map(|slot| slot.map(|slot| best[slot])).collect())
        }
        // Of the two zeros, which compare equal, always the same.
        Lane::BestFloat(_, best) => each(&|slot| Some(best[slot] + 0.0)),
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
                    let totals = slot.and_then(|slot| cells[slot].as_ref()?.totals());
                    totals.map(|totals| fit(totals.delta)).transpose()
                })
                .collect::<Result<_>>()?,
        ),
        Lane::CounterInt(cells) => each(&|slot| Some(cells[slot].as_ref()?.totals()?.rate.value())),
        Lane::CounterFloat(cells) => each(&|slot| {
            let totals = cells[slot].as_ref()?.totals()?;
            let is_rate = item.function == Function::Rate;
            Some(if is_rate { &totals.rate } else { &totals.delta }.value())
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
