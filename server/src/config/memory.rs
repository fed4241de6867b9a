//! One bound of memory for the process, and the parts of it that other keys are unless they are set.

use super::Config;
use std::path::Path;
use toml::{Table, Value};

/// The least that a node can do something with, bytes.
const BYTES_MIN: u64 = 64 << 20;
/// Taken where the system does not say how much memory there is, bytes.
const BYTES_UNKNOWN: u64 = 1 << 30;

/// A key that is a part of the bound: so many 32nds of it, but no more than it would be by itself,
/// and no less than it needs.
struct Part {
    section: &'static str,
    key: &'static str,
    share: u64,
    bytes_max: u64,
    bytes_min: u64,
    set: fn(&Config) -> u64,
}

/// What is left of 32 is for connections, indexes, buffers of nodes and what the allocator keeps.
const PARTS: [Part; 8] = [
    Part {
        section: "storage",
        key: "memtable_bytes_max",
        share: 4,
        bytes_max: 160 << 20,
        bytes_min: 1 << 20,
        set: |config| config.storage.memtable_bytes_max as u64,
    },
    Part {
        section: "storage",
        key: "page_cache_bytes_max",
        share: 2,
        bytes_max: 128 << 20,
        bytes_min: 0,
        set: |config| config.storage.page_cache_bytes_max as u64,
    },
    Part {
        section: "storage",
        key: "log_queue_bytes_max",
        share: 2,
        bytes_max: 256 << 20,
        bytes_min: 1 << 20,
        set: |config| config.storage.log_queue_bytes_max as u64,
    },
    Part {
        section: "ingest",
        key: "inflight_bytes_max",
        share: 2,
        bytes_max: 128 << 20,
        bytes_min: 1 << 20,
        set: |config| config.ingest.inflight_bytes_max as u64,
    },
    Part {
        section: "http",
        key: "inflight_bytes_max",
        share: 2,
        bytes_max: 64 << 20,
        bytes_min: 1 << 20,
        set: |config| config.http.inflight_bytes_max as u64,
    },
    Part {
        section: "mqtt",
        key: "memory_bytes_max",
        share: 1,
        bytes_max: 40 << 20,
        bytes_min: 1 << 20,
        set: |config| config.mqtt.memory_bytes_max as u64,
    },
    Part {
        section: "query",
        key: "memory_total_bytes_max",
        share: 8,
        bytes_max: u64::MAX,
        bytes_min: 1 << 20,
        set: |config| config.query.memory_total_bytes_max as u64,
    },
    Part {
        section: "query",
        key: "memory_bytes_max",
        share: 4,
        bytes_max: 256 << 20,
        bytes_min: 1 << 20,
        set: |config| config.query.memory_bytes_max as u64,
    },
];

/// Sets in `table` what nobody set there: the bound, and its parts.
pub(super) fn derive(table: &mut Table) {
    let whole = table.get("memory_bytes_max").and_then(Value::as_integer);
    let whole = match whole {
        Some(bytes) => bytes.max(0) as u64,
        None => (of_machine(Path::new("/")).unwrap_or(2 * BYTES_UNKNOWN) / 2).max(BYTES_MIN),
    };
    table.insert("memory_bytes_max".into(), integer(whole));
    for part in &PARTS {
        let section = table.entry(part.section).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(section) = section else { continue };
        if !section.contains_key(part.key) {
            section.insert(part.key.into(), integer(part.of(whole, section)));
        }
    }
}

impl Part {
    fn of(&self, whole: u64, section: &Table) -> u64 {
        let set = |key| section.get(key).and_then(Value::as_integer).map(|bytes| bytes as u64);
        // One body, and one question, must be let in.
        let least = match (self.section, self.key) {
            ("http", _) => set("body_bytes_max").unwrap_or(16 << 20),
            ("query", "memory_total_bytes_max") => set("memory_bytes_max").unwrap_or(0),
            _ => 0,
        };
        let most = match (self.section, self.key) {
            ("query", "memory_bytes_max") => set("memory_total_bytes_max").unwrap_or(u64::MAX),
            _ => u64::MAX,
        };
        let share = (whole / 32 * self.share).min(self.bytes_max).max(self.bytes_min);
        share.max(least).min(most)
    }
}

/// The parts of the bound as they are, each with its key, bytes.
pub(crate) fn parts(config: &Config) -> impl Iterator<Item = (String, u64)> {
    PARTS.iter().map(|part| (format!("{}.{}", part.section, part.key), (part.set)(config)))
}

/// Checks that a node can do something with the bound.
///
/// # Errors
/// Names the key and what was expected.
pub(super) fn validate(bytes_max: u64) -> Result<(), String> {
    match bytes_max < BYTES_MIN {
        true => Err(format!("memory_bytes_max is {bytes_max}; expected {BYTES_MIN} or more")),
        false => Ok(()),
    }
}

fn integer(bytes: u64) -> Value {
    Value::Integer(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// Memory that the process may have at all, bytes: what the machine has, or, where that is less, what
/// the control groups allow that it is in.
fn of_machine(root: &Path) -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let all = read("proc/meminfo")?.lines().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?;
        Some(kib.trim().parse::<u64>().ok()? * 1024)
    })?;
    let groups = read("proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().flat_map(limit_files);
    let limits = limits.filter_map(|path| read(&path)?.trim().parse::<u64>().ok());
    Some(limits.fold(all, u64::min))
}

/// Where the limits of a group stand, and of those that it is in: within a container the path of
/// the group is often that of the machine outside, so that its own limit stands at the top.
fn limit_files(line: &str) -> Vec<String> {
    let mut fields = line.splitn(3, ':');
    let (Some(_), Some(kinds), Some(group)) = (fields.next(), fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (top, name) = match kinds {
        "" => ("sys/fs/cgroup", "memory.max"),
        _ if kinds.split(',').any(|kind| kind == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let inside = Path::new(group.trim_start_matches('/'));
    let groups = inside.ancestors().map(|group| Path::new(top).join(group).join(name));
    groups.map(|path| path.display().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn parts_shrink_with_the_bound_unless_they_are_set() {
        let derived = |text: &str| {
            let mut table: Table = toml::from_str(text).unwrap();
            derive(&mut table);
            table.try_into::<Config>().unwrap()
        };
        let small = derived("memory_bytes_max = 536870912\n[storage]\npage_cache_bytes_max = 7\n");
        assert_eq!(small.storage.memtable_bytes_max, 64 << 20);
        assert_eq!(small.storage.page_cache_bytes_max, 7);
        assert_eq!(small.query.memory_total_bytes_max, 128 << 20);
        assert_eq!(small.query.memory_bytes_max, 64 << 20);
        assert_eq!(small.validate(), Ok(()));
        let large = derived("memory_bytes_max = 68719476736");
        assert_eq!(large.storage.memtable_bytes_max, 160 << 20);
        assert_eq!(large.query.memory_total_bytes_max, 16 << 30);
        let least = derived(&format!("memory_bytes_max = {BYTES_MIN}"));
        assert_eq!(least.validate(), Ok(()));
        assert!(
            derived("memory_bytes_max = 7")
                .validate()
                .unwrap_err()
                .contains("memory_bytes_max is 7")
        );
    }

    #[test]
    fn the_parts_leave_something_for_the_rest() {
        let mut table = Table::new();
        table.insert("memory_bytes_max".into(), Value::Integer(512 << 20));
        derive(&mut table);
        let config: Config = table.try_into().unwrap();
        // That of one question is part of that of all.
        let of_all = parts(&config).filter(|(key, _)| key != "query.memory_bytes_max");
        let together: u64 = of_all.map(|(_, bytes)| bytes).sum();
        assert!(together <= 3 * (512 << 20) / 4, "{together}");
    }

    #[test]
    fn the_machine_has_what_its_smallest_group_allows() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(of_machine(root.path()), None);
        write("proc/meminfo", "MemTotal:        8192 kB\nMemFree: 1 kB\n");
        assert_eq!(of_machine(root.path()), Some(8192 << 10));
        write("proc/self/cgroup", "4:memory:/a/b\n0::/a/b\n");
        write("sys/fs/cgroup/memory.max", "max\n");
        write("sys/fs/cgroup/a/memory.max", "4194304\n");
        assert_eq!(of_machine(root.path()), Some(4 << 20));
        write("sys/fs/cgroup/memory/memory.limit_in_bytes", "2097152\n");
        assert_eq!(of_machine(root.path()), Some(2 << 20));
    }
}
