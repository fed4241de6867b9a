//! A window question: as texts, and as what they mean, whatever table there is.

use crate::{
    Error, Result,
    moment::moment_in,
    select::{Selected, parse_names, parse_select},
    windows::{Windows, zone},
};
use oribi_model::TimeRange;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A window question as asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The database; `default` when absent.
    pub db: Option<String>,
    /// The table.
    pub table: Option<String>,
    /// Columns of the answer.
    pub select: Option<String>,
    /// Length of a window.
    pub window: Option<String>,
    /// Shift of the windows.
    pub offset: Option<String>,
    /// Zone of calendar windows.
    pub timezone: Option<String>,
    /// First time inside.
    pub start: Option<String>,
    /// First time after.
    pub end: Option<String>,
    /// SQL predicate.
    pub filter: Option<String>,
    /// Tags that make groups.
    pub group_by: Option<String>,
    /// What stands in empty windows.
    pub fill: Option<String>,
    /// `asc` or `desc`.
    pub order: Option<String>,
    /// Rows at most.
    pub limit: Option<String>,
}

/// What is asked of the windows of a table, checked as far as it can be without the table. Every
/// dialect of questions ends in one.
#[derive(Debug, Clone)]
pub struct WindowPlan {
    /// The database; `default` when absent.
    pub(crate) db: Option<String>,
    /// The table.
    pub(crate) table: Option<String>,
    /// Columns of the answer after time and group.
    pub(crate) items: Vec<Selected>,
    /// Where time is cut.
    pub(crate) windows: Windows,
    /// First time inside, ns since the epoch.
    pub(crate) start: Option<i64>,
    /// First time after.
    pub(crate) end: Option<i64>,
    /// SQL predicate over the table's columns.
    pub(crate) filter: Option<String>,
    /// Tags that make groups.
    pub(crate) group: Group,
    /// Empty windows.
    pub(crate) fill: Fill,
    /// Order by time.
    pub(crate) order: Order,
    /// Rows at most.
    pub(crate) limit: Option<usize>,
    /// In whose words that was asked, and at which moment; `None` where no words say it.
    pub(crate) asked: Option<Arc<(Question, i64)>>,
}

/// Tags that make groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Group {
    /// These, in their order.
    Tags(Vec<String>),
    /// All that the table has.
    Series,
}

/// What stands in empty windows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fill {
    /// Nothing: they are left out.
    None,
    /// Null.
    Null,
    /// The value before.
    Previous,
    /// The straight line between the values around.
    Linear,
    /// A number.
    Number(f64),
}

/// Order of the rows by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

impl Question {
    /// What the question means at the moment `now_ns`.
    ///
    /// # Errors
    /// Names the parameter that is wrong and what was expected.
    pub fn plan(&self, now_ns: i64) -> Result<WindowPlan> {
        let windows =
            Windows::parse(given(&self.window), given(&self.offset), given(&self.timezone))?;
        let (start, end) = range(self, now_ns)?;
        let Some(select) = given(&self.select) else {
            let detail = "the parameter select is missing; expected functions such as \
                 mean(temperature), max(humidity) as h, count(*)";
            return Err(Error::parameter("select", detail));
        };
        Ok(WindowPlan {
            db: self.db.clone(),
            table: self.table.clone(),
            items: parse_select(select)?,
            windows,
            start,
            end,
            filter: given(&self.filter).map(str::to_owned),
            group: Group::parse(given(&self.group_by))?,
            fill: fill(given(&self.fill))?,
            order: order(given(&self.order))?,
            limit: limit(given(&self.limit))?,
            asked: Some(Arc::new((self.clone(), now_ns))),
        })
    }
}

impl WindowPlan {
    /// The windows of a range of a table, by time.
    pub(crate) fn new(
        (db, table): (String, String),
        items: Vec<Selected>,
        windows: Windows,
        group: Group,
        range: TimeRange,
    ) -> WindowPlan {
        WindowPlan {
            db: Some(db),
            table: Some(table),
            items,
            windows,
            start: Some(range.start),
            end: Some(range.end),
            filter: None,
            group,
            fill: Fill::None,
            order: Order::Ascending,
            limit: None,
            asked: None,
        }
    }
}

impl Group {
    /// Reads `group_by`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for what is no list of names.
    pub(crate) fn parse(text: Option<&str>) -> Result<Group> {
        Ok(match text {
            None => Group::Tags(Vec::new()),
            Some("*") => Group::Series,
            Some(names) => Group::Tags(parse_names("group_by", names)?),
        })
    }
}

fn given(parameter: &Option<String>) -> Option<&str> {
    parameter.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

fn range(question: &Question, now_ns: i64) -> Result<(Option<i64>, Option<i64>)> {
    let zone = zone(given(&question.timezone))?;
    let moment = |name: &str, text: &Option<String>| {
        given(text).map(|text| moment_in(name, text, now_ns, &zone)).transpose()
    };
    let (start, end) = (moment("start", &question.start)?, moment("end", &question.end)?);
    if let (Some(start), Some(end)) = (start, end)
        && start > end
    {
        return Err(Error::parameter("start", "start lies after end; expected start <= end"));
    }
    Ok((start, end))
}

fn fill(text: Option<&str>) -> Result<Fill> {
    Ok(match text.unwrap_or("none") {
        "none" => Fill::None,
        "null" => Fill::Null,
        "previous" => Fill::Previous,
        "linear" => Fill::Linear,
        number => match number.parse::<f64>() {
            Ok(value) if value.is_finite() => Fill::Number(value),
            _ => {
                let detail = format!(
                    "{number:?} is no fill; expected none, null, previous, linear or a number"
                );
                return Err(Error::parameter("fill", detail));
            }
        },
    })
}

fn order(text: Option<&str>) -> Result<Order> {
    match text.unwrap_or("asc") {
        "asc" => Ok(Order::Ascending),
        "desc" => Ok(Order::Descending),
        other => {
            let detail = format!("{other:?} is no order; expected asc or desc");
            Err(Error::parameter("order", detail))
        }
    }
}

fn limit(text: Option<&str>) -> Result<Option<usize>> {
    let Some(text) = text else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        Error::parameter("limit", format!("{text:?} is no limit; expected a whole number"))
    })
}
