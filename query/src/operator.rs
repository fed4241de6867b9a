//! The window operator: a tight loop over rows sorted by (series, time).

mod slots;

use crate::{
    Error, Result, kernel,
    lane::{Lane, Slice},
    parallel::{self, Sharing},
    plan::{Grouping, Plan},
    select::Input,
    watch::Watch,
    windows::{Cuts, Window},
};
use hashbrown::HashMap;
use oribi_model::{Block, BlockIter, SeriesKey};
use slots::SlotIndex;
use std::ops::ControlFlow;

/// Values of the tags of a group, in the order asked; `None` is null.
pub(crate) type GroupKey = Box<[Option<Box<str>>]>;

/// Figures of groups and windows, from some of the rows.
pub(crate) struct Figures {
    /// Groups, by number.
    pub(crate) groups: Vec<GroupKey>,
    /// Group and window of each slot.
    pub(crate) slots: Vec<(u32, i64)>,
    /// One for each lane of the plan.
    pub(crate) lanes: Vec<Lane>,
    /// Rows taken.
    pub(crate) rows: u64,
    /// Runs of rows taken, that is: series by tablet.
    pub(crate) series: u64,
    index: SlotIndex,
    by_tags: HashMap<GroupKey, u32>,
    by_series: HashMap<SeriesKey, u32>,
    /// Series of each group where groups are series.
    series_keys: Vec<SeriesKey>,
    windows_seen: Option<(i64, i64)>,
    cuts: Cuts,
}

impl Figures {
    /// No rows yet. `hint` are the first and last window expected.
    pub(crate) fn new(plan: &Plan, hint: Option<(i64, i64)>) -> Figures {
        Figures {
            groups: Vec::new(),
            slots: Vec::new(),
            lanes: plan.lanes.iter().map(|spec| Lane::new(*spec)).collect(),
            rows: 0,
            series: 0,
            index: SlotIndex::new(hint),
            by_tags: HashMap::new(),
            by_series: HashMap::new(),
            series_keys: Vec::new(),
            windows_seen: None,
            cuts: Cuts::new(&plan.windows, hint),
        }
    }

    /// Takes the rows of a block whose residual filter was applied.
    pub(crate) fn take(
        &mut self,
        plan: &Plan,
        part: usize,
        block: &Block,
        windows_max: u64,
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
                let slot = self.slot(group, window.index, windows_max, &mut bytes)?;
                for (lane, spec) in self.lanes.iter_mut().zip(&plan.lanes) {
                    let column = match spec.input {
                        Input::Field { place, .. } => Some(&block.columns[place]),
                        Input::Rows | Input::Time => None,
                    };
                    let slice = Slice { column, times, rows: at..until, series, part };
                    bytes += lane.fold(slot, &slice);
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

    fn slot(
        &mut self,
        group: u32,
        window: i64,
        windows_max: u64,
        bytes: &mut usize,
    ) -> Result<usize> {
        let found = self.index.get(group, window, bytes);
        if *found != slots::NONE {
            return Ok(*found as usize);
        }
        let slot = self.slots.len();
        *found = slot as u32;
        let (first, last) = match self.windows_seen {
            None => (window, window),
            Some((first, last)) => (first.min(window), last.max(window)),
        };
        if last.abs_diff(first) >= windows_max {
            return Err(Error::TooManyWindows { windows_max });
        }
        self.windows_seen = Some((first, last));
        self.slots.push((group, window));
        *bytes += 32 + self.lanes.iter_mut().map(Lane::push).sum::<usize>();
        Ok(slot)
    }

    /// Adds the figures of other rows of the same plan.
    pub(crate) fn merge(
        &mut self,
        plan: &Plan,
        mut other: Figures,
        windows_max: u64,
        watch: &Watch,
    ) -> Result<()> {
        let mut bytes = 0;
        let groups: Vec<u32> = (0..other.groups.len())
            .map(|at| match other.series_keys.get(at) {
                Some(series) => self.group(plan, &series.clone(), &mut bytes),
                None => self.group_of_key(std::mem::take(&mut other.groups[at]), &mut bytes),
            })
            .collect();
        for from in 0..other.slots.len() {
            let (group, window) = other.slots[from];
            let slot = self.slot(groups[group as usize], window, windows_max, &mut bytes)?;
            for (lane, theirs) in self.lanes.iter_mut().zip(&mut other.lanes) {
                bytes += lane.merge(slot, theirs, from);
            }
        }
        self.rows += other.rows;
        self.series += other.series;
        watch.grow(bytes)
    }

    /// Gives up all but the groups and what was counted.
    pub(crate) fn forget_lanes(&mut self) {
        (self.lanes, self.slots, self.index) = Default::default();
    }

    /// Turns figures by series into figures by group.
    pub(crate) fn settle(
        mut self,
        plan: &Plan,
        windows_max: u64,
        watch: &Watch,
    ) -> Result<Figures> {
        if plan.grouping() == Grouping::Tags {
            return Ok(self);
        }
        self.lanes.iter_mut().for_each(Lane::settle);
        let mut settled = Figures::new(plan, None);
        self.series_keys.clear();
        settled.merge(plan, self, windows_max, watch)?;
        Ok(settled)
    }
}

fn group_key(plan: &Plan, series: &SeriesKey) -> GroupKey {
    plan.group.iter().map(|tag| series.tag(tag.id).map(Box::from)).collect()
}

/// Folds all parts.
pub(crate) fn run(
    plan: &Plan,
    parts: Vec<BlockIter>,
    hint: Option<(i64, i64)>,
    limits: Limits,
    watch: &Watch,
) -> Result<Figures> {
    let make = || Figures::new(plan, hint);
    let take = |figures: &mut Figures, part: usize, block: Block| {
        let block = plan.filter.apply(block, &plan.scan_columns)?;
        figures.take(plan, part, &block, limits.windows_max, watch).map(ControlFlow::Continue)
    };
    let mut states = parallel::fold(parts, limits.sharing, watch, make, take)?.into_iter();
    let mut figures = states.next().unwrap_or_else(make);
    for theirs in states {
        figures.merge(plan, theirs, limits.windows_max, watch)?;
    }
    figures.settle(plan, limits.windows_max, watch)
}

/// Bounds of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Windows at most.
    pub(crate) windows_max: u64,
    /// Threads, and when they are worth it.
    pub(crate) sharing: Sharing,
}
