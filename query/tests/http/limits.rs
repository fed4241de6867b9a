//! What asks too much, and who asks beside it.

use super::*;

/// Scans that wait for each other hold no threads, and so do not wait for themselves.
#[tokio::test]
async fn many_scans_at_once_come_to_an_end() {
    let options = QueryOptions { threads_max: 16, ..QueryOptions::default() };
    let engine = QueryEngine::new(Arc::new(sensors()), options);
    let joins: Vec<String> = (1..24)
        .map(|at| {
            format!("JOIN sensors s{at} ON s0.time = s{at}.time AND s0.device = s{at}.device")
        })
        .collect();
    let text = format!("SELECT count(*) FROM sensors s0 {}", joins.join(" "));
    let answers = (0..4).map(|_| check_sql(&engine, &text, json!([[10]])));
    futures::future::join_all(answers).await;
}

#[tokio::test]
async fn plans_that_multiply_are_refused_before_they_are_made() {
    let engine = engine();
    let doubled = |levels: usize, twice: &str| {
        let clause = |at: usize| {
            let before = at - 1;
            format!("a{at} AS (SELECT x.n FROM a{before} x {twice} a{before} y)")
        };
        let clauses: Vec<String> = (1..=levels).map(clause).collect();
        let first = "a0 AS (SELECT n FROM sensors)";
        format!("WITH {first}, {} SELECT n FROM a{levels}", clauses.join(", "))
    };
    for text in [
        doubled(12, "CROSS JOIN"),
        doubled(24, "UNION ALL SELECT y.n FROM"),
        format!("SELECT 1 FROM {}", vec!["sensors"; 65].join(", ")),
        format!(
            "SELECT {}",
            (0..20_000).map(|at| format!("1 AS a{at}")).collect::<Vec<_>>().join(", ")
        ),
    ] {
        let (status, problem) = get(&engine, "/api/v1/sql", &[("q", &text)]).await;
        assert_eq!(status, 400, "{problem}");
    }
}

#[tokio::test]
async fn as_many_operators_as_allowed_are_answered() {
    let engine = engine();
    let ors: Vec<String> = (0..248).map(|at| format!("device = 'd{at}'")).collect();
    let ors = ors.join(" OR ");
    check(&engine, &[("select", "count(*)"), ("where", &ors)], json!([])).await;
    let text = format!("SELECT count(*) FROM sensors WHERE {ors}");
    check_sql(&engine, &text, json!([[0]])).await;
    let memory = sensors();
    let table = &memory.0[0].table;
    assert!(oribi_query::tag_predicate(&ors, table, &QueryOptions::default()).is_ok());
}

/// A client that goes away frees its place at once.
#[tokio::test]
async fn a_full_house_answers_429_and_a_gone_client_makes_room() {
    let options = QueryOptions { running_max: 1, waiting_max: 0, ..QueryOptions::default() };
    let engine = QueryEngine::new(Arc::new(sensors()), options);
    let endless =
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t";
    let (other, text) = (engine.clone(), endless.to_owned());
    let mut client = Box::pin(async move { other.sql(None, text).await.map(drop) });
    assert!(futures::poll!(client.as_mut()).is_pending());
    let (status, problem) = get(&engine, "/api/v1/sql", &[("q", "SELECT 1")]).await;
    assert_eq!(status, 429, "{problem}");
    drop(client);
    let start = Instant::now();
    while get(&engine, "/api/v1/sql", &[("q", "SELECT 1")]).await.0 != 200 {
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}

/// What steps of a plan gather is bounded by bytes as well as by rows, over however many threads.
#[tokio::test]
async fn long_texts_are_read_within_little_memory() {
    let mut letters = MemoryTable::new(1, "default", "letters", &[], &[("body", ColumnType::Text)]);
    letters.block_rows = 100;
    for time in 0..2_000 {
        letters.put(&[], time, &[Some(Value::Text("x".repeat(40_000)))]);
    }
    let options =
        QueryOptions { memory_bytes_max: 32 << 20, threads_max: 16, ..QueryOptions::default() };
    let engine = QueryEngine::new(Arc::new(Memory(vec![letters])), options);
    for (figure, expected) in [("count(body)", 2_000), ("max(length(body))", 40_000)] {
        let filtered = format!("SELECT {figure} FROM letters WHERE length(body) > 5");
        check_sql(&engine, &filtered, json!([[expected]])).await;
        check_sql(&engine, &format!("SELECT {figure} FROM letters"), json!([[expected]])).await;
    }
}
