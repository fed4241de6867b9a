//! Puts dead letters through again, after their cause was mended.

use crate::{
    Result,
    births::EdgeNodes,
    connector::RegistrySpec,
    decode::Fault,
    mapping::{Message, RouteSpec, Routes, TopicStyle},
    pump::{Batch, Origin, Router},
};
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
    let mut routers: HashMap<&str, Router> = HashMap::new();
    for (name, source) in sources {
        let registry = source.registry.as_ref().map(|spec| spec.open(name)).transpose()?;
        let routes = Routes::new(&source.routes, source.style, registry.as_ref(), name)?;
        let nodes = Arc::new(EdgeNodes::forgetful());
        nodes.load(read.clone(), name).await?;
        let router = Router::new(Arc::new(routes), arrival.clone(), ahead_ns_max);
        routers.insert(name, router.with_nodes(nodes));
    }
    let mut outcomes = Vec::with_capacity(letters.len());
    let nobody: Arc<str> = "".into();
    for letter in letters {
        let Some(router) = routers.get_mut(letter.source.as_str()) else {
            outcomes.push(Replayed::Refused(format!("there is no source {:?}", letter.source)));
            continue;
        };
        if letter.payload_bytes > letter.payload.len() as u64 {
            outcomes.push(Replayed::Refused("only the head of its payload was kept".into()));
            continue;
        }
        let mut batch = Batch::new(NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut message = Message::new(&letter.topic, &letter.payload);
        message.time_ns = Some(letter.time_ns);
        if let Some(wanted) = router.wanted(&message) {
            wanted.fetch().await?;
        }
        let origin = Origin::Mqtt { client_id: &nobody, packet_id: 0 };
        router.add(&mut batch, &message, &origin, arrival.now_ns());
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

/// Writes the rows of a batch; why the write path refused one.
async fn refusal(batch: &mut Batch, ingest: &dyn Ingest) -> Result<Option<Fault>> {
    match ingest.write(batch.take_points()).await {
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
}
