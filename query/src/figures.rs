//! Figures of groups and windows, which merge in any order.

mod form;
mod slots;

use crate::{
    Error, Result, kernel,
    lane::{Lane, Slice},
    plan::{Grouping, Plan},
    presence::Presence,
    select::Input,
    watch::Watch,
    windows::{Cuts, Window},
};
use hashbrown::HashMap;
use oribi_model::{Block, Column, SeriesKey};
use slots::SlotIndex;
use std::sync::Arc;

/// Values of the tags of a group, in the order asked; `None` is null.
pub(crate) type GroupKey = Arc<[Option<Box<str>>]>;

/// A group in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The group, by number.
    pub(crate) group: u32,
    /// The window.
    pub(crate) window: Window,
}

/// Figures from some of the rows.
pub(crate) struct Figures {
    /// Groups, by number.
    groups: Vec<GroupKey>,
    slots: Vec<Slot>,
    presence: Presence,
    /// One for each lane of the plan.
    lanes: Vec<Box<dyn Lane>>,
    rows: u64,
    series: u64,
    /// Tablets read.
    pub(crate) tablets: u64,
    index: SlotIndex,
    by_tags: HashMap<GroupKey, u32>,
    by_series: HashMap<SeriesKey, u32>,
    /// Series of each group where groups are series.
    series_keys: Vec<SeriesKey>,
    windows_seen: Option<(i64, i64)>,
    windows_max: u64,
    cuts: Cuts,
}

/// Figures of all rows, by the groups that were asked for.
pub(crate) struct Settled {
    /// Groups, by number.
    pub(crate) groups: Vec<GroupKey>,
    /// Groups in windows.
    pub(crate) slots: Vec<Slot>,
    /// Which of these have values.
    pub(crate) presence: Presence,
    /// One for each lane of the plan.
    pub(crate) lanes: Vec<Box<dyn Lane>>,
    /// Rows taken.
    pub(crate) rows: u64,
    /// Runs of rows taken, that is: series by tablet.
    pub(crate) series: u64,
    /// Tablets read.
    pub(crate) tablets: u64,
}

impl Settled {
    /// Adds groups that have values elsewhere; returns the numbers of all that were given.
    pub(crate) fn with_groups(&mut self, groups: Vec<GroupKey>) -> Vec<u32> {
        let known = (0u32..).zip(&self.groups).map(|(number, key)| (key.clone(), number));
        let known: HashMap<GroupKey, u32> = known.collect();
        let mut number = |key: GroupKey| match known.get(&key) {
            Some(number) => *number,
            None => {
                self.groups.push(key);
                self.groups.len() as u32 - 1
            }
        };
        groups.into_iter().map(&mut number).collect()
    }
}

impl Figures {
    /// No rows yet, and never more than `windows_max` windows from the first to the last. `hint` are
    /// the first and last window expected.
    pub(crate) fn new(plan: &Plan, hint: Option<(i64, i64)>, windows_max: u64) -> Figures {
        Figures {
            groups: Vec::new(),
            slots: Vec::new(),
            presence: Presence::new(&plan.inputs),
            lanes: plan.lanes.iter().map(|spec| spec.lane()).collect(),
            rows: 0,
            series: 0,
            tablets: 0,
            index: SlotIndex::new(hint),
            by_tags: HashMap::new(),
            by_series: HashMap::new(),
            series_keys: Vec::new(),
            windows_seen: None,
            windows_max,
            cuts: Cuts::new(&plan.windows, hint),
        }
    }

    /// Takes the rows of a block whose residual filter was applied.
    pub(crate) fn take(
        &mut self,
        plan: &Plan,
        part: usize,
        block: &Block,
        watch: &Watch,
    ) -> Result<()> {
        let part = part as u32;
        let times: &[i64] = &block.times;
        let mut bytes = 0;
        let mut window = Window { index: 0, start: i64::MAX, end: i64::MIN };
        for (series, rows) in block.runs() {
            if rows.is_empty() {
                continue;
            }
            self.series += 1;
            let group = self.group(plan, series, &mut bytes);
            let mut at = rows.start;
            while at < rows.end {
                if times[at] < window.start || times[at] >= window.end {
                    window = self.cuts.at(&plan.windows, times[at]);
                }
                let until = at + kernel::before(&times[at..rows.end], window.end).max(1);
                let slot = self.slot(Slot { group, window }, &mut bytes)?;
                let slice = |input: &Input| {
                    let column = match *input {
                        Input::Field { place, .. } => Some(&block.columns[place]),
                        Input::Rows | Input::Time => None,
                    };
                    Slice { column, times, rows: at..until, series, part }
                };
                for (place, input) in plan.inputs.iter().enumerate() {
                    self.presence.fold(place, slot, &slice(input));
                }
                for (lane, spec) in self.lanes.iter_mut().zip(&plan.lanes) {
                    bytes += lane.fold(slot, &slice(&spec.input));
                }
                at = until;
            }
        }
        self.rows += block.rows() as u64;
        watch.grow(bytes)
    }

    fn group(&mut self, plan: &Plan, series: &SeriesKey, bytes: &mut usize) -> u32 {
        if plan.grouping() == Grouping::Series {
            if let Some(group) = self.by_series.get(series) {
                return *group;
            }
            let group = self.groups.len() as u32;
            *bytes += 2 * size_of_val(series.as_bytes()) + 128;
            self.by_series.insert(series.clone(), group);
            self.series_keys.push(series.clone());
            self.groups.push(group_key(plan, series));
            return group;
        }
        if plan.group.is_empty() && !self.groups.is_empty() {
            return 0;
        }
        let key = group_key(plan, series);
        self.group_of_key(key, bytes)
    }

    fn group_of_key(&mut self, key: GroupKey, bytes: &mut usize) -> u32 {
        if let Some(group) = self.by_tags.get(&key) {
            return *group;
        }
        let group = self.groups.len() as u32;
        let text: usize = key.iter().flatten().map(|value| value.len() + 32).sum();
        *bytes += 2 * text + 128;
        self.by_tags.insert(key.clone(), group);
        self.groups.push(key);
        group
    }

    fn slot(&mut self, wanted: Slot, bytes: &mut usize) -> Result<usize> {
        let window = wanted.window.index;
        let found = self.index.get(wanted.group, window, bytes);
        if *found != slots::NONE {
            return Ok(*found as usize);
        }
        let slot = self.slots.len();
        *found = slot as u32;
        let (first, last) = match self.windows_seen {
            None => (window, window),
            Some((first, last)) => (first.min(window), last.max(window)),
        };
        if last.abs_diff(first) >= self.windows_max {
            return Err(Error::TooManyWindows { windows_max: self.windows_max });
        }
        self.windows_seen = Some((first, last));
        self.slots.push(wanted);
        let lanes: usize = self.lanes.iter_mut().map(|lane| lane.push()).sum();
        *bytes += 2 * size_of::<Slot>() + self.presence.push() + lanes;
        Ok(slot)
    }

    /// Adds the figures of other rows of the same plan.
    pub(crate) fn merge(&mut self, plan: &Plan, mut other: Figures, watch: &Watch) -> Result<()> {
        let mut bytes = 0;
        let groups: Vec<u32> = (0..other.groups.len())
            .map(|at| match other.series_keys.get(at) {
                Some(series) => self.group(plan, &series.clone(), &mut bytes),
                None => self.group_of_key(other.groups[at].clone(), &mut bytes),
            })
            .collect();
        for from in 0..other.slots.len() {
            let Slot { group, window } = other.slots[from];
            let wanted = Slot { group: groups[group as usize], window };
            let slot = self.slot(wanted, &mut bytes)?;
            self.presence.merge(slot, &other.presence, from);
            for (lane, theirs) in self.lanes.iter_mut().zip(&mut other.lanes) {
                bytes += lane.merge(slot, theirs.as_mut(), from);
            }
        }
        self.rows = self.rows.saturating_add(other.rows);
        self.series = self.series.saturating_add(other.series);
        self.tablets = self.tablets.saturating_add(other.tablets);
        watch.grow(bytes)
    }

    /// The figures by group, once all are there.
    pub(crate) fn settle(mut self, plan: &Plan, watch: &Watch) -> Result<Settled> {
        if plan.grouping() == Grouping::Series {
            self.lanes.iter_mut().for_each(|lane| lane.settle());
            let mut by_tags = Figures::new(plan, None, self.windows_max);
            self.series_keys.clear();
            by_tags.merge(plan, self, watch)?;
            self = by_tags;
        }
        let Figures { groups, slots, presence, lanes, rows, series, tablets, .. } = self;
        Ok(Settled { groups, slots, presence, lanes, rows, series, tablets })
    }
}

/// The group of a series.
pub(crate) fn group_key(plan: &Plan, series: &SeriesKey) -> GroupKey {
    let mut rest = series.tags().peekable();
    let mut passed = None;
    let value = |tag: &Column| {
        if passed >= Some(tag.id) {
            return series.tag(tag.id).map(Box::from);
        }
        passed = Some(tag.id);
        while rest.next_if(|(id, _)| *id < tag.id).is_some() {}
        rest.next_if(|(id, _)| *id == tag.id).map(|(_, value)| Box::from(value))
    };
    plan.group.iter().map(value).collect()
}
