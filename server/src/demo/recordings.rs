//! The recorded series that ship with the binary.

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use std::io::Read;

const DAY_S: i64 = 86_400;

/// A recorded series of one device. Its times count from midnight of its first day.
#[derive(Debug)]
pub(super) struct Recording {
    /// Where the device is.
    pub(super) site: &'static str,
    /// Its name there.
    pub(super) device: &'static str,
    /// What it measures; the first one is shown in the view.
    pub(super) fields: Vec<Field>,
    /// Times, s, ascending.
    pub(super) times_s: Vec<i64>,
    /// Values row by row, as many a row as there are fields; NaN where none was recorded.
    values: Vec<f64>,
}

/// A measured field.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: String,
    /// Whether every value is a whole number.
    pub(super) is_whole: bool,
}

impl Recording {
    /// The values of a sample.
    pub(super) fn sample(&self, place: usize) -> &[f64] {
        let width = self.fields.len();
        &self.values[place * width..(place + 1) * width]
    }

    /// Number of samples; at least one.
    pub(super) fn len(&self) -> usize {
        self.times_s.len()
    }

    /// The whole days after which it starts over, s: the time of day stays. The first sample of a
    /// round comes after the last one of the round before.
    pub(super) fn period_s(&self) -> i64 {
        let long_s = self.times_s.last().zip(self.times_s.first());
        let long_s = long_s.map_or(0, |(last_s, first_s)| last_s - first_s);
        (long_s / DAY_S + 1) * DAY_S
    }

    /// Reads a recording out of CSV: `step_s`, then the fields.
    pub(super) fn parse(site: &'static str, device: &'static str, csv: &str) -> Result<Recording> {
        let mut lines = csv.lines();
        let head = lines.next().context("there is no head")?;
        let names: Vec<&str> = head.split(',').skip(1).collect();
        let (mut times_s, mut values) = (Vec::new(), Vec::new());
        let mut at_s = 0;
        for line in lines {
            let mut cells = line.split(',');
            let step = cells.next().unwrap_or_default();
            at_s += step.parse::<i64>().with_context(|| format!("{step:?} is no step"))?;
            times_s.push(at_s);
            for cell in cells {
                let value = if cell.is_empty() { Ok(f64::NAN) } else { cell.parse() };
                values.push(value.with_context(|| format!("{cell:?} is no value"))?);
            }
        }
        ensure!(!times_s.is_empty(), "there are no rows");
        ensure!(values.len() == times_s.len() * names.len(), "a row is not as long as the head");
        ensure!(times_s.is_sorted_by(|left, right| left < right), "times do not ascend");
        let fields = names.iter().enumerate().map(|(place, name)| {
            let mut column = values.iter().skip(place).step_by(names.len());
            let is_whole = column.all(|value| value.is_nan() || value.fract() == 0.0);
            Field { name: (*name).to_owned(), is_whole }
        });
        let fields = fields.collect();
        Ok(Recording { site, device, fields, times_s, values })
    }
}

macro_rules! packed {
    ($site:literal, $device:literal) => {
        (
            $site,
            $device,
            include_bytes!(concat!("../../demo-data/", $site, "-", $device, ".csv.gz")),
        )
    };
}

type Packed = (&'static str, &'static str, &'static [u8]);

const PACKED: [Packed; 10] = [
    packed!("newyork", "jfk"),
    packed!("plant", "machine1"),
    packed!("twincities", "t4013"),
    packed!("datacenter", "web1"),
    packed!("office", "room1"),
    packed!("newyork", "taxis"),
    packed!("newyork", "lga"),
    packed!("newyork", "ewr"),
    packed!("twincities", "6005"),
    packed!("datacenter", "db1"),
];

/// The first so many of the recordings that ship with the binary, at least one.
///
/// # Errors
/// Says which one cannot be read.
pub(super) fn shipped(most: usize) -> Result<Vec<Recording>> {
    let wanted = PACKED.iter().take(most.max(1));
    let unpack = |(site, device, packed): &Packed| {
        let mut csv = String::new();
        GzDecoder::new(*packed).read_to_string(&mut csv).context("it cannot be unpacked")?;
        Recording::parse(site, device, &csv)
    };
    wanted
        .map(|packed| {
            unpack(packed)
                .with_context(|| format!("cannot read recording {}-{}", packed.0, packed.1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shipped_recordings_can_be_read() {
        let recordings = shipped(usize::MAX).unwrap();
        assert_eq!(recordings.len(), PACKED.len());
        for recording in &recordings {
            assert!(recording.len() > 2_000, "{}", recording.device);
            assert!(recording.sample(recording.len() - 1).iter().any(|value| !value.is_nan()));
            assert_eq!(recording.period_s() % DAY_S, 0);
        }
        let [jfk, ..] = &recordings[..] else { panic!("there are recordings") };
        assert_eq!(jfk.times_s[0], 6 * 3_600);
        assert_eq!(jfk.sample(0)[0], 39.02);
    }

    #[test]
    fn a_recording_keeps_gaps_and_knows_whole_numbers() {
        let recording = Recording::parse("s", "d", "step_s,a,b\n60,1,2\n30,,3.5\n").unwrap();
        assert_eq!(recording.times_s, [60, 90]);
        assert!(recording.sample(1)[0].is_nan());
        assert!(recording.fields[0].is_whole && !recording.fields[1].is_whole);
        assert_eq!(recording.period_s(), DAY_S);
    }

    #[test]
    fn a_broken_recording_is_refused() {
        for csv in
            ["", "step_s,a\n", "step_s,a\n1,2,3\n", "step_s,a\n1,2\n0,2\n", "step_s,a\nx,2\n"]
        {
            assert!(Recording::parse("s", "d", csv).is_err(), "{csv:?}");
        }
    }
}
