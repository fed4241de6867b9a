//! TSBS's iot use case: trucks that report where they are and how they do, over networks that
//! lose and delay.
//!
//! Definitions follow TSBS's source: entries are made in order of time, then table, then truck,
//! and sent in batches of ten. Of all batches 1 % are lost and 5 % set aside for later; of their
//! entries 10 % are lost and 30 % set aside; every tenth entry lacks a field, every hundredth a
//! tag. Tags that are numbers become fields, as TSBS writes line protocol.

use std::{collections::HashSet, collections::VecDeque, io::Write};

use crate::{
    random::Random,
    workload::{Counts, START_NS, STEP_S, Workload},
};

/// The tables, in the order in which a truck reports them.
pub(super) const TABLES: [&str; 2] = ["readings", "diagnostics"];

const BATCH_ENTRIES: usize = 10;
const TAGS: [&str; 5] = ["name", "fleet", "driver", "model", "device_version"];
const CAPACITIES: [&str; 3] = ["load_capacity", "fuel_capacity", "nominal_fuel_consumption"];
const READINGS: [&str; 7] =
    ["latitude", "longitude", "elevation", "velocity", "heading", "grade", "fuel_consumption"];
const DIAGNOSTICS: [&str; 3] = ["fuel_state", "current_load", "status"];
const MODELS: [(&str, [u32; 3]); 3] =
    [("F-150", [2000, 200, 15]), ("G-2000", [5000, 300, 19]), ("H-2", [1500, 150, 12])];

/// Shows every line, in the order in which they are sent.
///
/// # Errors
/// What the visitor answers.
pub(super) fn each_line<E>(
    workload: Workload,
    mut visit: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Counts, E> {
    let mut random = Random::new(workload.seed);
    let trucks = (0..workload.hosts).map(|id| Truck::new(id, &mut random)).collect();
    let mut network = Network {
        fleet: Fleet { trucks, ticks: workload.ticks(), place: 0 },
        late_batches: VecDeque::new(),
        late_entries: VecDeque::new(),
    };
    let mut counts = Counts::default();
    // Rows without a name are the only ones that can share a key.
    let mut nameless = HashSet::new();
    while let Some(batch) = network.next_batch(&mut random) {
        for entry in batch {
            visit(&entry.line)?;
            counts.rows += 1;
            counts.metrics += entry.metrics;
            counts.keys += u64::from(entry.named || nameless.insert(entry.key()));
        }
    }
    Ok(counts)
}

/// One line on its way.
struct Entry {
    line: Vec<u8>,
    metrics: u64,
    named: bool,
}

impl Entry {
    /// Table, tags and time.
    fn key(&self) -> Vec<u8> {
        let mut parts = self.line.split(|byte| *byte == b' ');
        let (series, time) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
        [series, time].concat()
    }
}

/// What an entry lacks, by place among all tags and all fields.
#[derive(Clone, Copy, Default)]
struct Absent {
    tag: Option<usize>,
    field: Option<usize>,
}

/// Trucks and what is under way between them and the server.
struct Network {
    fleet: Fleet,
    late_batches: VecDeque<Vec<Entry>>,
    late_entries: VecDeque<Entry>,
}

impl Network {
    /// What arrives next; `None` at the end.
    fn next_batch(&mut self, random: &mut Random) -> Option<Vec<Entry>> {
        loop {
            if self.fleet.is_done() {
                let rest = self.late_entries.len().min(BATCH_ENTRIES);
                let late = self.late_batches.pop_front();
                let batch = late.unwrap_or_else(|| self.late_entries.drain(..rest).collect());
                return (!batch.is_empty()).then_some(batch);
            }
            if random.unit() < 0.01 {
                (0..BATCH_ENTRIES).for_each(|_| drop(self.fleet.next(random, Absent::default())));
                continue;
            }
            let is_late = random.unit() < 0.05;
            if !self.late_batches.is_empty() && random.unit() < 0.5 {
                return self.late_batches.pop_front();
            }
            let batch = self.batch(random);
            if is_late {
                self.late_batches.push_back(batch);
            } else if !batch.is_empty() {
                return Some(batch);
            }
        }
    }

    fn batch(&mut self, random: &mut Random) -> Vec<Entry> {
        let mut batch = Vec::with_capacity(BATCH_ENTRIES);
        while batch.len() < BATCH_ENTRIES {
            let comes_late = !self.late_entries.is_empty() && random.unit() < 0.5;
            let lost = random.unit() < 0.1;
            let field = (random.unit() < 0.1).then(|| random.below(READINGS.len() as u64) as usize);
            let tags = (TAGS.len() + CAPACITIES.len()) as u64;
            let tag = (random.unit() < 0.01).then(|| random.below(tags) as usize);
            let entry = match comes_late {
                true => self.late_entries.pop_front(),
                false => self.fleet.next(random, Absent { tag, field }),
            };
            let Some(entry) = entry else { break };
            if lost {
                continue;
            }
            if random.unit() < 0.3 {
                self.late_entries.push_back(entry);
            } else {
                batch.push(entry);
            }
        }
        batch
    }
}

/// All trucks, and the next entry that one of them makes.
struct Fleet {
    trucks: Vec<Truck>,
    ticks: u64,
    place: u64,
}

impl Fleet {
    fn is_done(&self) -> bool {
        self.place >= self.ticks * (TABLES.len() * self.trucks.len()) as u64
    }

    fn next(&mut self, random: &mut Random, absent: Absent) -> Option<Entry> {
        if self.is_done() {
            return None;
        }
        let trucks = self.trucks.len() as u64;
        let (turn, truck) = (self.place / trucks, (self.place % trucks) as usize);
        let (tick, table) = (turn / TABLES.len() as u64, (turn % TABLES.len() as u64) as usize);
        let time_ns = START_NS + (tick * STEP_S) as i64 * 1_000_000_000;
        self.place += 1;
        let truck = &mut self.trucks[truck];
        Some(match table {
            0 => {
                let fields = truck.readings(random);
                truck.entry(TABLES[0], READINGS.iter().zip(fields), absent, time_ns)
            }
            _ => {
                let fields = truck.diagnostics(random);
                truck.entry(TABLES[1], DIAGNOSTICS.iter().zip(fields), absent, time_ns)
            }
        })
    }
}

struct Truck {
    tags: [String; 5],
    capacities: [u32; 3],
    walks: [f64; 7],
    fuel: f64,
    load: f64,
    status: f64,
}

impl Truck {
    fn new(id: usize, random: &mut Random) -> Truck {
        let (model, capacities) = *random.choice(&MODELS);
        let drivers = ["Derek", "Rodney", "Albert", "Andy", "Seth", "Trish"];
        let tags = [
            format!("truck_{id}"),
            (*random.choice(&["East", "West", "North", "South"])).to_owned(),
            (*random.choice(&drivers)).to_owned(),
            model.to_owned(),
            (*random.choice(&["v1.0", "v1.5", "v2.0", "v2.3"])).to_owned(),
        ];
        let scales = [90.0, 180.0, 500.0, 0.0, 360.0, 0.0];
        let mut walks = [25.0; 7];
        for (walk, scale) in walks.iter_mut().zip(scales) {
            *walk = random.unit() * scale;
        }
        let load = random.unit() * 5000.0;
        Truck { tags, capacities, walks, fuel: 1.0, load, status: 0.0 }
    }

    /// Values of [`READINGS`], as written.
    fn readings(&mut self, random: &mut Random) -> [String; 7] {
        const STEPS: [f64; 7] = [0.005, 0.005, 10.0, 10.0, 5.0, 5.0, 5.0];
        const RANGES: [(f64, f64); 7] = [
            (-90.0, 90.0),
            (-180.0, 180.0),
            (0.0, 5000.0),
            (0.0, 100.0),
            (0.0, 360.0),
            (0.0, 100.0),
            (0.0, 50.0),
        ];
        const DECIMALS: [i32; 7] = [5, 5, 0, 0, 0, 0, 1];
        let values = std::array::from_fn(|place| cut(self.walks[place], DECIMALS[place]));
        for ((walk, step), (low, high)) in self.walks.iter_mut().zip(STEPS).zip(RANGES) {
            *walk = (*walk + (2.0 * random.unit() - 1.0) * step).clamp(low, high);
        }
        values
    }

    /// Values of [`DIAGNOSTICS`], as written.
    fn diagnostics(&mut self, random: &mut Random) -> [String; 3] {
        let status = format!("{}i", self.status as i64);
        let values = [cut(self.fuel, 1), cut(self.load, 0), status];
        self.fuel = (self.fuel - 0.001 * random.unit()).max(0.0);
        if self.fuel == 0.0 {
            self.fuel = 1.0;
        }
        if random.unit() < 0.05 {
            self.load = random.unit() * 5000.0;
        }
        self.status = (self.status + random.normal()).clamp(0.0, 5.0);
        values
    }

    fn entry<'a>(
        &self,
        table: &str,
        fields: impl ExactSizeIterator<Item = (&'a &'a str, String)>,
        absent: Absent,
        time_ns: i64,
    ) -> Entry {
        let mut line = table.as_bytes().to_vec();
        // Writing to a Vec cannot fail.
        for (place, (tag, value)) in TAGS.iter().zip(&self.tags).enumerate() {
            if absent.tag != Some(place) {
                let _ = write!(line, ",{tag}={value}");
            }
        }
        let mut metrics = 0;
        let mut put = |name: &str, value: &dyn std::fmt::Display| {
            let _ = write!(line, "{}{name}={value}", if metrics == 0 { ' ' } else { ',' });
            metrics += 1;
        };
        for (place, (name, value)) in CAPACITIES.iter().zip(&self.capacities).enumerate() {
            if absent.tag != Some(TAGS.len() + place) {
                put(name, value);
            }
        }
        let absent_field = absent.field.map(|field| field % fields.len());
        for (place, (name, value)) in fields.enumerate() {
            if absent_field != Some(place) {
                put(name, &value);
            }
        }
        let _ = writeln!(line, " {time_ns}");
        Entry { line, metrics, named: absent.tag != Some(0) }
    }
}

/// A number with its decimals cut, in the fewest digits.
fn cut(value: f64, decimals: i32) -> String {
    let scale = 10f64.powi(decimals);
    ((value * scale).trunc() / scale).to_string()
}
