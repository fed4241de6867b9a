//! What becomes of connectors that cannot run.

use super::*;
use crate::{
    connector::{Closed, ConnectorStore},
    testing::{Drawer, Memory, arrival},
};
use futures::future::BoxFuture;
use oribi_model::{
    Committed, Feed, ReadPath, ScanSpec, Table, TableId, TableStats, TabletId, TabletScan,
    TimeRange, WindowFeed, WindowQuestion, WindowRow, WrongMember,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::sync::Notify;

/// No rows.
struct Nothing;

impl ReadPath for Nothing {
    fn table(&self, _: &str, _: &str) -> Option<Arc<Table>> {
        None
    }
    fn tables(&self) -> Vec<Arc<Table>> {
        Vec::new()
    }
    fn stats(&self, _: TableId) -> TableStats {
        TableStats::default()
    }
    fn scan(&self, _: TableId, _: &ScanSpec, _: usize) -> oribi_model::Result<Vec<TabletScan>> {
        Ok(Vec::new())
    }
}

impl Feed for Nothing {
    fn tablets(&self, _: TableId) -> Vec<TabletId> {
        Vec::new()
    }
    fn is_near(&self, _: TabletId) -> bool {
        true
    }
    fn committed(&self, _: TabletId, _: u64, _: usize) -> oribi_model::Result<Option<Committed>> {
        Ok(None)
    }
}

impl WindowFeed for Nothing {
    fn check(&self, _: &WindowQuestion) -> std::result::Result<(), WrongMember> {
        Ok(())
    }
    fn window_at(&self, _: &WindowQuestion, _: i64) -> std::result::Result<TimeRange, String> {
        Ok(TimeRange::ALL)
    }
    fn windows(
        &self,
        _: &WindowQuestion,
        _: TimeRange,
    ) -> std::result::Result<Vec<WindowRow>, String> {
        Ok(Vec::new())
    }
}

/// Remembers connectors and who has each, and panics where it is asked for their places.
struct Kept {
    connectors: Mutex<BTreeMap<String, String>>,
    paused: Mutex<BTreeSet<String>>,
    seat: Mutex<Seat>,
    /// The epochs after which this node took a connector.
    taken: Mutex<Vec<u64>>,
    changed: Arc<Notify>,
}

impl Kept {
    fn with(kept: &[(&str, &str)]) -> Arc<Kept> {
        let kept = kept.iter().map(|(name, json)| ((*name).to_owned(), (*json).to_owned()));
        Arc::new(Kept {
            connectors: Mutex::new(kept.collect()),
            paused: Mutex::default(),
            seat: Mutex::new(Seat::Here { epoch: 1 }),
            taken: Mutex::default(),
            changed: Arc::default(),
        })
    }

    fn set_seat(&self, seat: Seat) {
        *self.seat.lock() = seat;
        self.changed.notify_waiters();
    }
}

impl ConnectorStore for Kept {
    fn connectors(&self) -> Vec<(String, String)> {
        self.connectors.lock().clone().into_iter().collect()
    }
    fn put(&self, name: &str, json: &str) -> BoxFuture<'_, std::result::Result<(), String>> {
        self.connectors.lock().insert(name.to_owned(), json.to_owned());
        Box::pin(async { Ok(()) })
    }
    fn delete(&self, name: &str) -> BoxFuture<'_, std::result::Result<(), String>> {
        self.connectors.lock().remove(name);
        Box::pin(async { Ok(()) })
    }
    fn paused(&self) -> BTreeSet<String> {
        self.paused.lock().clone()
    }
    fn pause(&self, name: &str) -> BoxFuture<'_, std::result::Result<(), String>> {
        self.paused.lock().insert(name.to_owned());
        Box::pin(async { Ok(()) })
    }
    fn resume(&self, name: &str) -> BoxFuture<'_, std::result::Result<(), String>> {
        self.paused.lock().remove(name);
        Box::pin(async { Ok(()) })
    }
    fn cursors(&self, _: &str) -> BTreeMap<String, u64> {
        panic!("no places for the test")
    }
    fn seat(&self, _: &str) -> Seat {
        *self.seat.lock()
    }
    fn take(&self, _: &str, epoch: u64) -> BoxFuture<'_, std::result::Result<(), String>> {
        self.taken.lock().push(epoch);
        *self.seat.lock() = Seat::Here { epoch: epoch + 1 };
        Box::pin(async { Ok(()) })
    }
    fn changed(&self) -> BoxFuture<'static, ()> {
        let changed = self.changed.clone();
        Box::pin(async move { changed.notified().await })
    }
    fn save_cursors(
        &self,
        _: &str,
        _: u64,
        _: BTreeMap<String, u64>,
    ) -> BoxFuture<'_, std::result::Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

fn spec(name: &str) -> String {
    format!(
        r#"{{"name":"{name}","kind":"kafka","url":"kafka://127.0.0.1:1","routes":[{{"topics":["t"]}}]}}"#
    )
}

fn started(file: &[&str], kept: &[(&str, &str)]) -> Connectors {
    started_with(file, Kept::with(kept))
}

fn started_with(file: &[&str], store: Arc<Kept>) -> Connectors {
    started_under(file, store, Arc::<Drawer>::default())
}

fn started_under(file: &[&str], store: Arc<Kept>, vault: Arc<Drawer>) -> Connectors {
    let parts = Parts {
        ingest: Memory::open(),
        feed: Arc::new(Nothing),
        windows: Arc::new(Nothing),
        arrival: arrival(),
        store,
        vault,
        ahead_ns_max: i64::MAX / 2,
        files: "/nowhere".into(),
    };
    let file = file.iter().map(|name| serde_json::from_str(&spec(name)).unwrap()).collect();
    Connectors::start(file, parts, CancellationToken::new()).unwrap()
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_one_connector_that_failed() {
    let strange = r#"{"name":"old","kind":"kafka","url":"kafka://h","flux":1}"#;
    let connectors = started(&["file"], &[("old", strange), ("broken", "{")]);
    for name in ["old", "broken"] {
        let found = connectors.get(name).unwrap();
        assert_eq!(found.state, State::Failed, "{name}");
        assert!(found.last_error.unwrap().contains("cannot be read"), "{name}");
        let resumed = connectors.resume(name).await.unwrap().unwrap();
        assert_eq!(resumed.state, State::Failed);
    }
    let shown = serde_json::to_string(&connectors.get("old").unwrap()).unwrap();
    assert!(shown.contains(r#""name":"old","kind":"kafka","url":"kafka://h""#), "{shown}");
    assert_ne!(connectors.get("file").unwrap().state, State::Failed);
    // It can be mended, and it can be dropped.
    assert_ne!(connectors.put(&spec("old")).await.unwrap().state, State::Failed);
    assert!(connectors.delete("broken").await.unwrap() && connectors.get("broken").is_none());
}

#[tokio::test]
async fn a_name_of_both_the_file_and_the_store_fails_until_one_is_dropped() {
    let connectors = started(&["both"], &[("both", &spec("both"))]);
    let found = connectors.get("both").unwrap();
    assert_eq!((found.state, found.origin), (State::Failed, "file"));
    assert!(connectors.delete("both").await.unwrap());
    assert_ne!(connectors.get("both").unwrap().state, State::Failed);
    assert!(connectors.delete("both").await.is_err(), "the file has it alone now");
}

#[tokio::test]
async fn a_run_that_panics_is_a_failure_and_is_tried_again() {
    let connectors = started(&["panics"], &[]);
    let found = loop {
        let found = connectors.get("panics").unwrap();
        if found.restarts > 1 {
            break found;
        }
        tokio::task::yield_now().await;
    };
    let reason = found.last_error.unwrap();
    assert!(reason.contains("panicked: no places for the test"), "{reason}");
    assert!(connectors.pause("panics").await.unwrap().unwrap().state == State::Paused);
}

async fn until(connectors: &Connectors, name: &str, is: impl Fn(&Described) -> bool) -> Described {
    loop {
        if let Some(found) = connectors.get(name).filter(|found| is(found)) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn has_run(found: &Described) -> bool {
    found.last_error.as_ref().is_some_and(|reason| reason.contains("panicked"))
}

#[tokio::test]
async fn a_connector_runs_on_the_node_that_has_it() {
    let store = Kept::with(&[]);
    store.set_seat(Seat::Elsewhere);
    let connectors = started_with(&["one"], store.clone());
    let found = until(&connectors, "one", |found| found.state == State::Elsewhere).await;
    assert!(!has_run(&found) && store.taken.lock().is_empty());
    store.set_seat(Seat::Here { epoch: 4 });
    until(&connectors, "one", has_run).await;
    store.set_seat(Seat::Elsewhere);
    until(&connectors, "one", |found| found.state == State::Elsewhere).await;
    assert!(connectors.inner.known.lock()["one"].task.is_none());
}

#[tokio::test]
async fn a_connector_that_nobody_has_is_taken_when_it_is_this_nodes_turn() {
    let store = Kept::with(&[]);
    let wait = Duration::from_millis(60);
    store.set_seat(Seat::Free { epoch: 7, wait });
    let started = Instant::now();
    let connectors = started_with(&["one"], store.clone());
    until(&connectors, "one", has_run).await;
    assert!(started.elapsed() >= wait, "others had their turn first");
    assert_eq!(*store.taken.lock(), [7]);
    let epoch = connectors.inner.known.lock()["one"].task.as_ref().map(|task| task.epoch);
    assert_eq!(epoch, Some(8));
}

#[tokio::test]
async fn what_another_node_makes_replaces_and_drops_is_followed() {
    let store = Kept::with(&[]);
    let connectors = started_with(&[], store.clone());
    store.connectors.lock().insert("far".into(), spec("far"));
    store.set_seat(Seat::Here { epoch: 1 });
    until(&connectors, "far", has_run).await;
    store.connectors.lock().insert("far".into(), "{".into());
    store.set_seat(Seat::Here { epoch: 1 });
    until(&connectors, "far", |found| found.state == State::Failed).await;
    store.connectors.lock().clear();
    store.set_seat(Seat::Here { epoch: 1 });
    while connectors.get("far").is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn secrets_are_kept_sealed_and_never_shown() {
    let store = Kept::with(&[]);
    let connectors = started_with(&[], store.clone());
    let json = spec("s").replacen('{', r#"{"password":"planted","#, 1);
    let made = connectors.put(&json).await.unwrap();
    let shown = serde_json::to_string(&made).unwrap();
    assert!(!shown.contains("planted") && shown.contains(r#""password":"***""#), "{shown}");
    let kept = store.connectors.lock()["s"].clone();
    assert!(!kept.contains("planted") && kept.contains(r#""password":{"sealed":"0"}"#), "{kept}");
    let spec = connectors.spec("s").unwrap();
    assert_eq!(spec.common.secret().unwrap().as_deref(), Some("planted"));
    // What is sealed is nobody's to give, and what is no text is not repeated.
    for (given, unsaid) in
        [(kept.as_str(), "sealed"), (&json.replace("\"planted\"", "4711"), "4711")]
    {
        let refused = connectors.put(given).await.unwrap_err().to_string();
        assert!(refused.contains("password: expected a text"), "{refused}");
        assert!(!refused.contains(unsaid), "{refused}");
    }
}

#[tokio::test]
async fn a_connector_whose_secrets_stay_closed_says_so_until_it_is_made_anew() {
    let (store, vault) = (Kept::with(&[]), Arc::<Drawer>::default());
    let json = spec("s").replacen('{', r#"{"password":"planted","#, 1);
    started_under(&[], store.clone(), vault.clone()).put(&json).await.unwrap();
    *vault.closed.lock() = Some(Closed::Yet("the key is on its way".into()));
    let connectors = started_under(&[], store.clone(), vault.clone());
    let found = connectors.get("s").unwrap();
    assert_eq!(found.state, State::Starting);
    assert!(found.last_error.unwrap().contains("the key is on its way"));
    *vault.closed.lock() = None;
    until(&connectors, "s", has_run).await;

    *vault.closed.lock() = Some(Closed::ForGood("sealed with another key".into()));
    store.paused.lock().insert("s".into());
    let connectors = started_under(&[], store.clone(), vault.clone());
    let found = connectors.get("s").unwrap();
    assert_eq!(found.state, State::Sealed);
    assert!(found.last_error.unwrap().contains("sealed with another key"));
    let resumed = connectors.resume("s").await.unwrap().unwrap();
    assert_eq!(resumed.state, State::Sealed);
    *vault.closed.lock() = None;
    connectors.put(&json).await.unwrap();
    until(&connectors, "s", has_run).await;
}
