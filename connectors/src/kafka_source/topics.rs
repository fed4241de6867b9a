//! Whether topics are still those that they were: one that was deleted and made anew has another id,
//! and its offsets mean other records.

use super::consumer::{ANSWER_WAIT, Consumer, TopicPartition};
use crate::kafka::native;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, task::JoinHandle};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(10);

type Answer = Result<HashMap<String, Result<String, String>>, String>;

/// The ids of topics as they were when they were assigned, and the question that is under way for what
/// they are now. It is asked aside from the thread that reads.
pub(super) struct TopicIds {
    known: HashMap<String, String>,
    looked: Instant,
    looking: Option<JoinHandle<Answer>>,
    is_wanted: Arc<AtomicBool>,
}

impl TopicIds {
    pub(super) fn new() -> TopicIds {
        TopicIds {
            known: HashMap::new(),
            looked: Instant::now(),
            looking: None,
            is_wanted: Arc::new(AtomicBool::new(true)),
        }
    }

    pub(super) fn get(&self, topic: &str) -> Option<&str> {
        self.known.get(topic).map(String::as_str)
    }

    /// Asks for the ids of topics that are not known.
    ///
    /// # Errors
    /// What the broker said of the first topic that has none.
    pub(super) fn learn(
        &mut self,
        consumer: &Consumer,
        partitions: &[TopicPartition],
    ) -> Result<(), String> {
        let new: BTreeSet<&String> = partitions
            .iter()
            .map(|(topic, _)| topic)
            .filter(|topic| !self.known.contains_key(*topic))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let new: Vec<String> = new.into_iter().cloned().collect();
        let mut found = native::topic_ids(consumer, &new, ANSWER_WAIT, || true)?;
        for topic in new {
            let id = found.remove(&topic).unwrap_or_else(|| Err("an answer without it".into()));
            let id = id.map_err(|wrong| format!("the topic {topic:?}: {wrong}"))?;
            self.known.insert(topic, id);
        }
        Ok(())
    }

    /// Asks now and then, and gives a topic that was made anew.
    pub(super) fn look(&mut self, consumer: &Arc<Consumer>, runtime: &Handle) -> Option<String> {
        if let Some(looking) = self.looking.take_if(|looking| looking.is_finished()) {
            self.looked = Instant::now();
            // One that gets no answer is asked again.
            let found = runtime.block_on(looking).ok().and_then(Result::ok)?;
            // A topic that is gone may come back.
            return self.known.iter().find_map(|(topic, known)| {
                let is_another = matches!(found.get(topic), Some(Ok(id)) if id != known);
                is_another.then(|| topic.clone())
            });
        }
        if self.looking.is_none() && !self.known.is_empty() && self.looked.elapsed() >= LOOK_EVERY {
            let topics: Vec<String> = self.known.keys().cloned().collect();
            let (consumer, is_wanted) = (consumer.clone(), self.is_wanted.clone());
            self.looking = Some(runtime.spawn_blocking(move || {
                let is_wanted = || is_wanted.load(Ordering::Acquire);
                native::topic_ids(&*consumer, &topics, ANSWER_WAIT, is_wanted)
            }));
        }
        None
    }

    /// Gives up the question under way, which holds the consumer.
    pub(super) fn close(&mut self, runtime: &Handle) {
        self.is_wanted.store(false, Ordering::Release);
        if let Some(looking) = self.looking.take() {
            // Nobody wants the answer.
            drop(runtime.block_on(looking));
        }
    }
}
