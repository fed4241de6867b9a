//! How old an answer may be, and what it says of that.

use super::*;
use oribi_model::{
    Consistency, ReadPath, Reading, ScanSpec, Table, TableId, TableStats, TabletScan,
};

/// A read path that lags behind by so much.
struct Lagging {
    memory: Memory,
    age: Duration,
    consistency: Consistency,
}

impl ReadPath for Lagging {
    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        self.memory.table(db, table)
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        self.memory.tables()
    }

    fn begin(&self, consistency: Consistency) -> oribi_model::Result<Option<Arc<dyn ReadPath>>> {
        let Lagging { age, .. } = *self;
        match consistency {
            Consistency::Stale(max) if max < age => {
                let what = "tablet 7".to_owned();
                Err(oribi_model::Error::TooStale { what, age: Some(age), max })
            }
            consistency => Ok(Some(Arc::new(Lagging { memory: sensors(), age, consistency }))),
        }
    }

    fn reading(&self) -> Option<Reading> {
        let is_stale = self.consistency != Consistency::Linearizable;
        Some(Reading { nodes: 2, tablets: 3, staleness: is_stale.then_some(self.age) })
    }

    fn stats(&self, table: TableId) -> TableStats {
        self.memory.stats(table)
    }

    fn scan(
        &self,
        table: TableId,
        spec: &ScanSpec,
        parts_max: usize,
    ) -> oribi_model::Result<Vec<TabletScan>> {
        self.memory.scan(table, spec, parts_max)
    }
}

fn lagging() -> QueryEngine {
    let (memory, age) = (sensors(), Duration::from_micros(1_500_001));
    let read = Lagging { memory, age, consistency: Consistency::Linearizable };
    QueryEngine::new(Arc::new(read), QueryOptions::default())
}

const WAYS: [(&str, &[(&str, &str)]); 3] = [
    ("/api/v1/query", &[("table", "sensors"), ("select", "count(*)")]),
    ("/api/v1/sql", &[("q", "SELECT count(*) FROM sensors")]),
    ("/api/v1/sql", &[("q", "SELECT * FROM sensors LIMIT 1")]),
];

#[tokio::test]
async fn a_stale_answer_says_how_old_it_may_be_and_any_answer_who_was_asked() {
    let engine = lagging();
    for (path, pairs) in WAYS {
        let stale = [pairs, &[("consistency", "stale")]].concat();
        let bound = [pairs, &[("consistency", "stale"), ("staleness_max", "1501ms")]].concat();
        let plain = [pairs, &[("consistency", "linearizable")]].concat();
        for asked in [&stale[..], &bound, &plain, pairs] {
            let (status, answer) = get(&engine, path, asked).await;
            assert_eq!(status, 200, "{asked:?}: {answer}");
            let stats = &answer["stats"];
            assert_eq!((&stats["nodes"], &stats["tablets"]), (&json!(2), &json!(3)), "{asked:?}");
            // An age is rounded up.
            let expected =
                if asked.contains(&("consistency", "stale")) { json!(1501) } else { json!(null) };
            assert_eq!(stats["staleness_ms"], expected, "{asked:?}");
        }
    }
}

#[tokio::test]
async fn what_is_older_than_asked_is_refused_by_name() {
    let engine = lagging();
    for (path, pairs) in WAYS {
        let asked = [pairs, &[("consistency", "stale"), ("staleness_max", "1s")]].concat();
        let (status, answer) = get(&engine, path, &asked).await;
        assert_eq!((status, &answer["type"]), (503, &json!("/problems/too-stale")), "{answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(
            detail.contains("tablet 7") && detail.contains("staleness_max is 1000 ms"),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn a_consistency_that_is_none_is_a_400_that_names_the_parameter() {
    let engine = engine();
    for (path, pairs) in WAYS {
        for (wrong, parameter) in [
            (&[("consistency", "eventual")][..], "consistency"),
            (&[("staleness_max", "10s")], "staleness_max"),
            (&[("consistency", "stale"), ("staleness_max", "10")], "staleness_max"),
            (&[("consistency", "stale"), ("staleness_max", "-1s")], "staleness_max"),
            (&[("consistency", "stale"), ("staleness_max", "1mo")], "staleness_max"),
        ] {
            let asked = [pairs, wrong].concat();
            let (status, answer) = get(&engine, path, &asked).await;
            assert_eq!(
                (status, &answer["parameter"]),
                (400, &json!(parameter)),
                "{asked:?}: {answer}"
            );
        }
        // Who lacks nothing may be asked either way.
        let asked = [pairs, &[("consistency", "stale"), ("staleness_max", "0s")]].concat();
        assert_eq!(get(&engine, path, &asked).await.0, 200);
    }
}
