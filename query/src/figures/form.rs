//! Figures as bytes, to be merged elsewhere.
//!
//! `ORFG`, a version, the CRC-32C of the rest, and the rest: which figures these are, how many rows,
//! series and tablets they are of, the groups, and each slot with its window and what was counted and kept
//! in it. Whoever reads them has the same plan.

use super::{Figures, GroupKey, Slot};
use crate::{
    Result,
    form::{Take, put_count, put_sized, wrong},
    lane::{LaneKind, LaneSpec},
    plan::{Grouping, Plan},
    select::Input,
    watch::Watch,
    windows::Window,
};
use oribi_model::{ColumnType, SeriesKey};

const MAGIC: &[u8; 4] = b"ORFG";
const VERSION: u8 = 1;
/// Group, window and a count.
const SLOT_BYTES_MIN: usize = 4 + 24 + 8;

impl Figures {
    /// The figures as bytes.
    pub(crate) fn to_bytes(&self, plan: &Plan) -> Vec<u8> {
        let mut body = Vec::new();
        write_specs(plan, &mut body);
        body.extend_from_slice(&self.rows.to_le_bytes());
        body.extend_from_slice(&self.series.to_le_bytes());
        body.extend_from_slice(&self.tablets.to_le_bytes());
        put_count(&mut body, self.groups.len());
        match plan.grouping() {
            Grouping::Series => {
                self.series_keys.iter().for_each(|key| put_sized(&mut body, key.as_bytes()));
            }
            Grouping::Tags => self.groups.iter().for_each(|key| write_key(key, &mut body)),
        }
        put_count(&mut body, self.slots.len());
        for (at, Slot { group, window }) in self.slots.iter().enumerate() {
            body.extend_from_slice(&group.to_le_bytes());
            for bound in [window.index, window.start, window.end] {
                body.extend_from_slice(&bound.to_le_bytes());
            }
            self.presence.write(at, &mut body);
            self.lanes.iter().for_each(|lane| lane.write(at, &mut body));
        }
        let crc = crc32c::crc32c(&body).to_le_bytes();
        [&MAGIC[..], &[VERSION], &crc, &body].concat()
    }

    /// The figures of a plan that these bytes are.
    ///
    /// # Errors
    /// [`crate::Error::Figures`] for any others, and the limits of the query.
    pub(crate) fn from_bytes(
        plan: &Plan,
        bytes: &[u8],
        windows_max: u64,
        watch: &Watch,
    ) -> Result<Figures> {
        let mut from = Take::new(bytes);
        if from.bytes(MAGIC.len())? != MAGIC {
            return Err(wrong("they do not begin as figures do"));
        }
        if from.u8()? != VERSION {
            return Err(wrong("they have a version that is not known here"));
        }
        let crc = from.u32()?;
        let body = &bytes[MAGIC.len() + 1 + size_of::<u32>()..];
        if crc32c::crc32c(body) != crc {
            return Err(wrong("their checksum does not fit"));
        }
        let mut figures = Figures::new(plan, None, windows_max);
        figures.read(plan, &mut from, watch)?;
        from.end()?;
        Ok(figures)
    }

    fn read(&mut self, plan: &Plan, from: &mut Take<'_>, watch: &Watch) -> Result<()> {
        let mut specs = Vec::new();
        write_specs(plan, &mut specs);
        if from.bytes(specs.len())? != specs {
            return Err(wrong("they are those of another question"));
        }
        (self.rows, self.series, self.tablets) = (from.u64()?, from.u64()?, from.u64()?);
        let groups = from.count(1)?;
        for number in 0..groups {
            let mut bytes = 0;
            let group = match plan.grouping() {
                Grouping::Series => self.group(plan, &read_series(from)?, &mut bytes),
                Grouping::Tags => {
                    let key = read_key(plan, from)?;
                    self.group_of_key(key, &mut bytes)
                }
            };
            if group as usize != number {
                return Err(wrong("a group stands there twice"));
            }
            watch.grow(bytes)?;
        }
        for number in 0..from.count(SLOT_BYTES_MIN)? {
            let slot = read_slot(groups, from)?;
            let mut bytes = 0;
            if self.slot(slot, &mut bytes)? != number {
                return Err(wrong("a slot stands there twice"));
            }
            self.presence.read(number, from)?;
            for lane in &mut self.lanes {
                bytes += lane.read(number, from)?;
            }
            watch.grow(bytes)?;
        }
        Ok(())
    }
}

/// What tells figures of one question from those of another.
fn write_specs(plan: &Plan, out: &mut Vec<u8>) {
    let by_series = plan.grouping() == Grouping::Series;
    out.push(u8::from(by_series));
    put_count(out, plan.group.len());
    put_count(out, plan.inputs.len());
    plan.inputs.iter().for_each(|input| out.extend_from_slice(&input_code(*input)));
    put_count(out, plan.lanes.len());
    for LaneSpec { input, kind } in &plan.lanes {
        out.extend_from_slice(&input_code(*input));
        out.push(kind_code(*kind));
    }
}

fn input_code(input: Input) -> [u8; 2] {
    let of_type = |column_type| match column_type {
        ColumnType::Int => 0,
        ColumnType::Float => 1,
        ColumnType::Bool => 2,
        ColumnType::Text => 3,
    };
    match input {
        Input::Rows => [0, 0],
        Input::Time => [1, 0],
        Input::Field { column_type, .. } => [2, of_type(column_type)],
    }
}

fn kind_code(kind: LaneKind) -> u8 {
    match kind {
        LaneKind::Sum => 1,
        LaneKind::Min => 2,
        LaneKind::Max => 3,
        LaneKind::First => 4,
        LaneKind::Last => 5,
        LaneKind::Spread => 6,
        LaneKind::Kept => 7,
        LaneKind::Counter => 8,
    }
}

fn write_key(key: &GroupKey, out: &mut Vec<u8>) {
    for tag in key.iter() {
        out.push(u8::from(tag.is_some()));
        if let Some(text) = tag {
            put_sized(out, text.as_bytes());
        }
    }
}

fn read_key(plan: &Plan, from: &mut Take<'_>) -> Result<GroupKey> {
    let mut tag = || match from.u8()? {
        0 => Ok(None),
        1 => Ok(Some(from.text()?.into())),
        _ => Err(wrong("a tag is none")),
    };
    plan.group.iter().map(|_| tag()).collect()
}

fn read_series(from: &mut Take<'_>) -> Result<SeriesKey> {
    SeriesKey::from_bytes(from.sized()?).ok_or_else(|| wrong("a series key is none"))
}

fn read_slot(groups: usize, from: &mut Take<'_>) -> Result<Slot> {
    let group = from.u32()?;
    let window = Window { index: from.i64()?, start: from.i64()?, end: from.i64()? };
    if group as usize >= groups || window.start >= window.end {
        return Err(wrong("a slot has no group or no length"));
    }
    Ok(Slot { group, window })
}
