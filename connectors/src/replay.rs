//! Puts dead letters through again, after their cause was mended.

use crate::{
    Result,
    connector::RegistrySpec,
    dead_letter::Around,
    pump::{Batch, CompiledRoutes, Intake, Origin},
    sparkplug_store::EdgeNodes,
};
use oribi_decode::{Fault, Message, RouteSpec, mapping::TopicStyle};
use oribi_ingest::Ingest;
use oribi_model::{ArrivalClock, ReadPath, RejectReason};
use std::{
    collections::HashMap,
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
    Refused(String),
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
    let mut outcomes = Vec::with_capacity(letters.len());
    let nobody: Arc<str> = "".into();
    for letter in letters {
        let Some(intake) = intakes.get_mut(letter.source.as_str()) else {
            outcomes.push(Replayed::Refused(format!("there is no source {:?}", letter.source)));
            continue;
        };
        if letter.payload_bytes > letter.payload.len() as u64 {
            outcomes.push(Replayed::Refused("only the head of its payload was kept".into()));
            continue;
        }
        let Some(around) = &letter.around else {
            outcomes.push(Replayed::Refused("its key and headers were not kept".into()));
            continue;
        };
        let mut batch = Batch::new(NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut message = Message::new(&letter.topic, &letter.payload);
        let headers: Vec<(&str, &[u8])> =
            around.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        (message.key, message.headers) = (around.key.as_deref(), &headers);
        (message.time_ns, message.partition) = (Some(letter.time_ns), letter.partition);
        if let Some(wanted) = intake.wanted(&message) {
            wanted.fetch().await?;
        }
        let origin = Origin::Mqtt { client_id: &nobody, packet_id: 0 };
        intake.add(&mut batch, &message, &origin, arrival.now_ns());
        let fault = match batch.take_faults().pop() {
            Some((_, fault)) => Some(fault),
            None => refusal(&mut batch, ingest).await?,
        };
        outcomes.push(match fault {
            None => Replayed::Stored,
            Some(fault) => Replayed::Refused(fault.detail),
        });
    }
    Ok(outcomes)
}

/// Writes the rows of a batch if all of them are taken; why the write path refused one.
async fn refusal(batch: &mut Batch, ingest: &dyn Ingest) -> Result<Option<Fault>> {
    let points = batch.take_points();
    if let Some(rejected) = ingest.refused(&points).into_iter().next() {
        return Ok(Some(Fault::new(rejected.reason, rejected.detail)));
    }
    match ingest.write(points).await {
        Ok(receipt) if !receipt.deferred.is_empty() => {
            let reason = "its rows need more new tables or time ranges than may be made at present";
            Err(crate::Error::Store(reason.into()))
        }
        Ok(receipt) => Ok(batch.refused(&receipt.rejected).pop().map(|(_, fault)| fault)),
        Err(wrong) if wrong.is_retryable() => Err(crate::Error::Store(wrong.to_string())),
        Err(wrong) => Ok(Some(Fault::new(RejectReason::Name, wrong.to_string()))),
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
