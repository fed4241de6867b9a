//! Puts dead letters through again, after their cause was mended.

use crate::{
    Result,
    connector::RegistrySpec,
    dead_letter::Around,
    pump::{Batch, CompiledRoutes, Intake, Origin},
    sparkplug_store::EdgeNodes,
};
use oribi_decode::{Message, RouteSpec, mapping::TopicStyle};
use oribi_ingest::Ingest;
use oribi_model::{ArrivalClock, Points, ReadPath, RejectReason, Rejection};
use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A dead letter as it lies in the table.
#[derive(Debug, Clone)]
pub struct Letter {
    /// By which connector it came.
    pub source: String,
    /// Its topic.
    pub topic: String,
    /// What is kept of its payload.
    pub payload: Vec<u8>,
    /// Bytes of the whole payload.
    pub payload_bytes: u64,
    /// When it came; the time of its rows that have none, so that a second replay changes nothing.
    pub time_ns: i64,
    /// The partition of a Kafka record.
    pub partition: Option<i32>,
    /// Its key and headers; `None`: they were too long to be kept.
    pub around: Option<Around>,
}

/// How the messages of a source are read.
#[derive(Debug, Clone)]
pub struct SourceRoutes {
    /// Its routes.
    pub routes: Vec<RouteSpec>,
    /// How its topics look.
    pub style: TopicStyle,
    /// Where its schemas are.
    pub registry: Option<RegistrySpec>,
}

/// What became of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// Its rows are stored.
    Stored,
    /// It has none as before; why.
    Refused(Arc<str>),
}

/// Reads letters as their sources do now, and stores their rows. Gives an outcome for each.
///
/// # Errors
/// Routes that cannot be, or a write path that did not take the rows.
pub async fn replay(
    letters: &[Letter],
    sources: &HashMap<String, SourceRoutes>,
    ingest: &dyn Ingest,
    read: &Arc<dyn ReadPath>,
    arrival: &ArrivalClock,
    ahead_ns_max: i64,
) -> Result<Vec<Replayed>> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let mut intakes: HashMap<&str, Intake> = HashMap::new();
    for (name, source) in sources {
        let registry = source.registry.as_ref().map(|spec| spec.open(name)).transpose()?;
        let routes = CompiledRoutes::new(&source.routes, source.style, registry, name)?;
        let nodes = Arc::new(EdgeNodes::forgetful());
        nodes.load(read.clone(), name).await?;
        let intake = Intake::new(routes, nodes, arrival.clone(), ahead_ns_max);
        intakes.insert(name, intake);
    }
    let (mut read, mut origin) = (Vec::with_capacity(letters.len()), 1);
    for letter in letters {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let intake = intakes.get_mut(letter.source.as_str());
        let trial = match intake {
            Some(intake) => rows_of(letter, intake, Batch::from(number, origin), arrival).await?,
            None => Err(format!("there is no source {:?}", letter.source).into()),
        };
        if let Ok(rows) = &trial {
            origin = rows.next_origin;
        }
        read.push(trial);
    }
    write(read, ingest).await
}

/// The rows of a letter.
struct Rows {
    points: Vec<Points>,
    origins: Range<u32>,
    next_origin: u32,
}

/// What a letter holds, or why it has no rows.
async fn rows_of(
    letter: &Letter,
    intake: &mut Intake,
    mut batch: Batch,
    arrival: &ArrivalClock,
) -> Result<Result<Rows, Arc<str>>> {
    if letter.payload_bytes > letter.payload.len() as u64 {
        return Ok(Err("only the head of its payload was kept".into()));
    }
    let Some(around) = &letter.around else {
        return Ok(Err("its key and headers were not kept".into()));
    };
    let mut message = Message::new(&letter.topic, &letter.payload);
    let headers: Vec<(&str, &[u8])> =
        around.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    (message.key, message.headers) = (around.key.as_deref(), &headers);
    (message.time_ns, message.partition) = (Some(letter.time_ns), letter.partition);
    if let Some(wanted) = intake.wanted(&message) {
        wanted.fetch().await?;
    }
    let first = batch.next_origin();
    let nobody: Arc<str> = "".into();
    let origin = Origin::Mqtt { client_id: &nobody, packet_id: 0 };
    intake.add(&mut batch, &message, &origin, arrival.now_ns());
    if let Some((_, fault)) = batch.take_faults().pop() {
        return Ok(Err(fault.detail));
    }
    let next_origin = batch.next_origin();
    let origins = first..next_origin;
    Ok(Ok(Rows { points: batch.take_points(), origins, next_origin }))
}

/// Writes the rows of all letters at once, unless some would be refused: then letter by letter, each
/// only if all of its rows are taken.
async fn write(read: Vec<Result<Rows, Arc<str>>>, ingest: &dyn Ingest) -> Result<Vec<Replayed>> {
    let all: Vec<Points> = read.iter().flatten().flat_map(|rows| rows.points.clone()).collect();
    if ingest.refused(&all).is_empty() {
        let rejected = write_points(all, ingest).await?;
        let refusal = |rows: &Rows| {
            let of_letter = rejected.iter().find(|one| rows.origins.contains(&one.origin));
            of_letter.map(|one| one.detail.clone())
        };
        let outcome = |read: Result<Rows, Arc<str>>| match read {
            Ok(rows) => refusal(&rows).map_or(Replayed::Stored, Replayed::Refused),
            Err(reason) => Replayed::Refused(reason),
        };
        return Ok(read.into_iter().map(outcome).collect());
    }
    let mut outcomes = Vec::with_capacity(read.len());
    for one in read {
        let refusal = match one {
            Err(reason) => Some(reason),
            Ok(rows) => match ingest.refused(&rows.points).into_iter().next() {
                Some(rejected) => Some(rejected.detail),
                None => {
                    let rejected = write_points(rows.points, ingest).await?;
                    rejected.into_iter().next().map(|rejected| rejected.detail)
                }
            },
        };
        outcomes.push(refusal.map_or(Replayed::Stored, Replayed::Refused));
    }
    Ok(outcomes)
}

/// Gives the rows that were refused.
async fn write_points(points: Vec<Points>, ingest: &dyn Ingest) -> Result<Vec<Rejection>> {
    let origins: Vec<u32> = points.iter().flat_map(|points| points.origins.clone()).collect();
    match ingest.write(points).await {
        Ok(receipt) if !receipt.deferred.is_empty() => {
            let reason = "its rows need more new tables or time ranges than may be made at present";
            Err(crate::Error::Store(reason.into()))
        }
        Ok(receipt) => Ok(receipt.rejected),
        Err(wrong) if wrong.is_retryable() => Err(crate::Error::Store(wrong.to_string())),
        Err(wrong) => {
            let detail: Arc<str> = wrong.to_string().into();
            let rejection =
                |origin| Rejection { origin, reason: RejectReason::Name, detail: detail.clone() };
            Ok(origins.into_iter().map(rejection).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Memory, arrival};

    #[tokio::test]
    async fn letters_are_read_as_their_source_reads_now() {
        let memory = Memory::open();
        let routes = vec![RouteSpec {
            pattern: Some("s/{device}".into()),
            table: Some("t".into()),
            ..RouteSpec::default()
        }];
        let sources = HashMap::from([(
            "mqtt".to_owned(),
            SourceRoutes { routes, style: TopicStyle::Mqtt, registry: None },
        )]);
        let letter = |source: &str, topic: &str, payload: &str| Letter {
            source: source.into(),
            topic: topic.into(),
            payload: payload.into(),
            payload_bytes: payload.len() as u64,
            time_ns: 1_700_000_000_000_000_000,
            partition: None,
            around: Some(Around::default()),
        };
        let cut = Letter { payload_bytes: 100, ..letter("mqtt", "s/a", "{}") };
        let letters = [
            letter("mqtt", "s/a", r#"{"v":1}"#),
            letter("mqtt", "s/a", "{broken"),
            letter("gone", "s/a", r#"{"v":1}"#),
            letter("mqtt", "refused", r#"{"v":1}"#),
            cut,
        ];
        let read: Arc<dyn ReadPath> = memory.clone();
        let outcomes = replay(&letters, &sources, &*memory, &read, &arrival(), i64::MAX / 2).await;
        let outcomes = outcomes.unwrap();
        assert_eq!(outcomes[0], Replayed::Stored);
        for (at, part) in [(1, "JSON"), (2, "no source"), (3, "type conflict"), (4, "head")] {
            let Replayed::Refused(reason) = &outcomes[at] else { panic!("{at} was stored") };
            assert!(reason.contains(part), "{reason}");
        }
        assert_eq!(memory.rows("t"), 1);
        assert_eq!(memory.written.lock()[0].times, [1_700_000_000_000_000_000]);
    }

    #[tokio::test]
    async fn many_letters_are_one_write() {
        let memory = Memory::gated(1);
        let of = SourceRoutes { routes: Vec::new(), style: TopicStyle::Kafka, registry: None };
        let sources = HashMap::from([("kafka".to_owned(), of)]);
        let letters: Vec<Letter> = (0..100)
            .map(|time_ns| Letter {
                time_ns,
                ..record(if time_ns == 7 { "[{\"v\":1},5]" } else { r#"{"v":1}"# })
            })
            .collect();
        let read: Arc<dyn ReadPath> = memory.clone();
        let outcomes = replay(&letters, &sources, &*memory, &read, &arrival(), i64::MAX / 2).await;
        let outcomes = outcomes.unwrap();
        let stored = outcomes.iter().filter(|outcome| **outcome == Replayed::Stored);
        assert_eq!((stored.count(), memory.rows("rows")), (99, 99));
        assert!(matches!(outcomes[7], Replayed::Refused(_)));
    }

    /// As [`Memory::rows`], with the tags of each row.
    fn shown(memory: &Memory) -> Vec<String> {
        let written = memory.written.lock();
        let rows = written.iter().flat_map(|points| {
            (0..points.rows()).map(|row| {
                let tags = points.tags_of(points.row_series[row] as usize);
                let mut tags: Vec<String> = tags.map(|(name, of)| format!("{name}={of}")).collect();
                tags.sort();
                format!("{} {}", tags.join(","), points.times[row])
            })
        });
        rows.collect()
    }

    async fn outcome(letter: Letter, tags: &[(&str, &str)], memory: &Arc<Memory>) -> Replayed {
        let tags =
            tags.iter().map(|(name, from)| ((*name).to_owned(), (*from).to_owned())).collect();
        let routes = vec![RouteSpec { topics: vec!["rows".into()], tags, ..RouteSpec::default() }];
        let of = SourceRoutes { routes, style: TopicStyle::Kafka, registry: None };
        let sources = HashMap::from([("kafka".to_owned(), of)]);
        let read: Arc<dyn ReadPath> = memory.clone();
        let outcomes =
            replay(&[letter], &sources, &**memory, &read, &arrival(), i64::MAX / 2).await;
        outcomes.unwrap().remove(0)
    }

    fn record(payload: &str) -> Letter {
        let headers = vec![("site".to_owned(), b"north".to_vec())];
        Letter {
            source: "kafka".into(),
            topic: "rows".into(),
            payload: payload.into(),
            payload_bytes: payload.len() as u64,
            time_ns: 42,
            partition: Some(3),
            around: Some(Around { key: Some(b"k1".to_vec()), headers }),
        }
    }

    #[tokio::test]
    async fn a_letter_of_a_record_gives_the_row_that_the_record_would_have_given() {
        let memory = Memory::open();
        assert_eq!(outcome(record(r#"{"v":1}"#), &[], &memory).await, Replayed::Stored);
        let tags = [("id", "$key"), ("site", "$header.site")];
        assert_eq!(outcome(record(r#"{"v":1}"#), &tags, &memory).await, Replayed::Stored);
        assert_eq!(
            shown(&memory),
            ["kafka_partition=3,key=k1 42", "id=k1,kafka_partition=3,site=north 42"]
        );
        let cut = Letter { around: None, ..record(r#"{"v":1}"#) };
        assert!(matches!(outcome(cut, &[], &memory).await, Replayed::Refused(_)));
    }

    #[tokio::test]
    async fn nothing_of_a_letter_that_is_refused_is_stored() {
        let memory = Memory::open();
        for payload in [r#"[{"v":1},{"v":2},5]"#, "t v=1i\nrefused v=1i\nt v=2i", "t v=1i\nt v=x"] {
            let found = outcome(record(payload), &[], &memory).await;
            assert!(matches!(found, Replayed::Refused(_)), "{payload}: {found:?}");
        }
        assert_eq!(shown(&memory), Vec::<String>::new());
    }
}
