//! A node against a map that says what it should hold: random writes, deletes, drops, merges,
//! restarts, power cuts, a full disk, and operations of the disk that fail once.

use super::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    path::Path,
};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

/// What a key may hold: one thing after a write that was acked, several where nobody knows whether
/// it happened. `None` is no row.
type Cells = BTreeMap<i64, BTreeSet<Option<i64>>>;

struct Run {
    random: Random,
    disk: SimDisk,
    node: Arc<Node>,
    cells: Cells,
    next_value: i64,
    /// Writes so far that were acked.
    acked: u64,
    /// Since when a failure was put into the disk that may not have come yet.
    faulty: bool,
}

impl Run {
    async fn new(seed: u64) -> Run {
        let disk = SimDisk::new();
        let node = open(&disk, &clock()).await.unwrap();
        let (cells, next_value) = (Cells::new(), 0);
        Run { random: Random(seed), disk, node, cells, next_value, acked: 0, faulty: false }
    }

    async fn step(&mut self) {
        match self.random.below(24) {
            0 => self.restart().await,
            1 => self.lose_power().await,
            2 | 3 => self.break_disk(),
            4 | 5 => self.compact().await,
            6 => self.drop_table().await,
            7 | 8 => self.delete().await,
            9 => self.fill_disk().await,
            _ => self.write().await,
        }
        // The log has failed, which only a restart mends.
        if !self.can_write() {
            assert!(self.faulty, "{:?} without any fault", self.node.troubles());
            self.lose_power().await;
        }
        self.check().await;
    }

    fn break_disk(&mut self) {
        let reasons = [ErrorKind::StorageFull, ErrorKind::TimedOut, ErrorKind::FileTooLarge];
        let reason = reasons[self.random.below(3) as usize];
        self.disk.fail_at(self.disk.operations() + 1 + self.random.below(12), reason);
        self.faulty = true;
    }

    /// Nothing fits any more for some steps; then writes go on by themselves.
    async fn fill_disk(&mut self) {
        let free = self.disk.free_bytes(Path::new("/data")).unwrap();
        self.disk.resize((1 << 40) - free + self.random.below(40_000));
        self.faulty = true;
        for _ in 0..self.random.below(4) {
            match self.random.below(3) {
                0 => self.compact().await,
                1 => self.delete().await,
                _ => self.write().await,
            }
        }
        self.disk.resize(1 << 40);
        let before = self.acked;
        while self.can_write() && self.acked == before {
            self.write().await;
        }
    }

    /// Whether nothing has happened that only a restart mends.
    fn can_write(&self) -> bool {
        self.node.failure().is_none() && !self.node.troubles().iter().any(is_final)
    }

    async fn table(&self) -> Option<TableId> {
        make_table(&self.node).await.ok().flatten()
    }

    async fn write(&mut self) {
        let count = 1 + self.random.below(30) as usize;
        let day = self.random.below(4) as i64 * 40 * NS_PER_DAY;
        let mut times = BTreeSet::new();
        while times.len() < count {
            times.insert(NOW - day + self.random.below(60) as i64);
        }
        let times: Vec<i64> = times.into_iter().collect();
        self.next_value += 1;
        let value = self.next_value;
        let Some(table) = self.table().await else { return };
        let covered = self.node.cover(table, &times, |wanted| wanted.count).await;
        let Ok(Cover { catalog, .. }) = covered else { return };
        let tablet = catalog.tablets_at(table, times[0])[0].id;
        let acked = self.node.write(tablet, batch(table, &times, value)).await.is_ok();
        self.acked += u64::from(acked);
        for time in times {
            self.note(time, Some(value), acked);
        }
    }

    async fn delete(&mut self) {
        let day = self.random.below(4) as i64 * 40 * NS_PER_DAY;
        let start = NOW - day + self.random.below(50) as i64;
        let range = TimeRange::new(start, start + 1 + self.random.below(20) as i64);
        let Some(table) = self.table().await else { return };
        let acked = self.node.delete(table, range, TagPredicate::Always).await.is_ok();
        let times: Vec<i64> = self.cells.range(range.start..range.end).map(|(at, _)| *at).collect();
        for time in times {
            self.note(time, None, acked);
        }
    }

    async fn drop_table(&mut self) {
        let Some(table) = self.table().await else { return };
        let acked = self.node.change(Change::DropTable { table }).await.is_ok();
        let times: Vec<i64> = self.cells.keys().copied().collect();
        for time in times {
            self.note(time, None, acked);
        }
    }

    fn note(&mut self, time: i64, value: Option<i64>, acked: bool) {
        let held = self.cells.entry(time).or_insert_with(|| [None].into());
        if acked {
            held.clear();
        }
        held.insert(value);
    }

    async fn compact(&mut self) {
        let outcome = self.node.compact().await;
        assert!(outcome.is_ok() || self.faulty, "{outcome:?}");
    }

    async fn restart(&mut self) {
        self.node.stop().await;
        self.node = self.reopened().await;
    }

    /// Between two operations, or within one.
    async fn lose_power(&mut self) {
        if self.random.below(2) == 1 {
            self.disk.crash_at(self.disk.operations() + 1 + self.random.below(12));
            self.write().await;
        }
        self.node.stop().await;
        self.disk = self.disk.reboot(self.random.below(1_000));
        self.faulty = false;
        self.node = self.reopened().await;
    }

    /// A start may meet the failure that waits in the disk; the next one must succeed.
    async fn reopened(&mut self) -> Arc<Node> {
        for _ in 0..40 {
            match open(&self.disk, &clock()).await {
                Ok(node) if node.stats().damaged_tablets == 0 => return node,
                Ok(node) => node.stop().await,
                Err(error) => assert!(self.faulty, "{error}"),
            }
            assert!(self.faulty, "a tablet is set aside without any fault");
        }
        panic!("one failure of the disk keeps the node from starting");
    }

    async fn check(&mut self) {
        let Some(table) = self.table().await else { return };
        let found: BTreeMap<i64, i64> = rows(&self.node, table).into_iter().collect();
        for (time, held) in &mut self.cells {
            let value = found.get(time).copied();
            assert!(held.contains(&value), "at {time}: {value:?} is none of {held:?}");
            // What was seen once stays.
            *held = [value].into();
        }
        assert!(found.keys().all(|time| self.cells.contains_key(time)), "rows of nobody");
        self.cells.retain(|_, held| !held.contains(&None));
    }

    /// In the end everything is as if nothing had ever gone wrong.
    async fn finish(mut self) {
        self.lose_power().await;
        self.check().await;
        self.compact().await;
        self.check().await;
        let table = self.table().await.unwrap();
        write(&self.node, table, &[NOW + 1_000], 1).await.unwrap();
        let node = &self.node;
        let held: usize =
            node.hosting.all().iter().map(|hosted| hosted.tablet.memtable_bytes()).sum();
        assert!(node.memtable_bytes() >= held, "memtables hold more than is counted");
        while !node.dropped.lock().is_empty() {
            node.drop_due.notify_one();
            tokio::task::yield_now().await;
        }
        node.compact().await.unwrap();
        assert_eq!((node.failure(), node.troubles()), (None, Vec::new()));
        let catalog = node.catalog();
        let known = |id: u64| id == 0 || catalog.tablet(TabletId(id)).is_some();
        assert!(node.hosting.log.groups().iter().all(|group| known(group.0)));
        node.stop().await;
        let folders = self.disk.list(Path::new("/data/tablets")).unwrap();
        let lost = folders.iter().filter(|name| name.parse().map_or(true, |id| !known(id)));
        assert_eq!(lost.count(), 0, "{folders:?}");
        let checked = crate::check(Path::new("/data"), Arc::new(self.disk.clone()), clock());
        assert_eq!(checked.unwrap().troubles, []);
    }
}

/// Troubles that only a restart ends.
fn is_final(trouble: &Trouble) -> bool {
    trouble.message.starts_with("it takes no more writes")
}

async fn run(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut run = Run::new(seed).await;
        for _ in 0..50 {
            run.step().await;
        }
        run.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_holds_what_a_map_would_whatever_happens() {
    run(0..6).await;
}

/// `cargo test -p oribi-cluster --lib -- --ignored for_long`: some minutes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn a_node_holds_what_a_map_would_for_long() {
    run(6..150).await;
}
