//! The query bench: the same questions to one system over one warm connection.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::{
    answer::Digest,
    dialect::{Dialect, Phrase},
    http::Connection,
    load::quantile,
    questions::{KINDS, Kind},
    results::Sink,
    workload::Workload,
};

/// How many questions are asked, how often, and for how long at most.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Extent {
    /// Questions of each kind and round.
    #[arg(long, default_value_t = 20)]
    pub(crate) questions: usize,
    /// Measured rounds, each of so many new questions; one more before them warms up.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Time after which a kind ends early, s; one round is always measured.
    #[arg(long, default_value_t = 40)]
    pub(crate) kind_s: u64,
}

/// Asks a system questions of every kind that it can express.
pub(crate) struct Asker {
    dialect: Dialect,
    connection: Connection,
    extent: Extent,
}

/// How one kind went.
struct Asked {
    way: &'static str,
    median: Duration,
    slowest: Duration,
    times: usize,
    bytes: usize,
}

impl Extent {
    /// Questions of each kind in all rounds. None is asked twice, so that a cache of answers helps
    /// as little as it helps different questions from different people.
    pub(crate) fn questions_in_all(self) -> usize {
        self.questions * (self.rounds + 1)
    }
}

impl Asker {
    /// Somebody who asks the server at `authority`.
    pub(crate) fn new(dialect: Dialect, authority: &str, extent: Extent) -> Asker {
        Asker { dialect, connection: Connection::new(authority), extent }
    }

    /// Asks everything, prints and keeps what it took.
    ///
    /// # Errors
    /// An answer is not 200 or not what this system answers, or the connection fails.
    pub(crate) fn run(&mut self, workload: Workload, sink: &Sink) -> Result<()> {
        println!("{:<24} {:>10} {:>10} {:>6} {:>9}  way", "kind", "ms", "max ms", "asked", "bytes");
        for kind in KINDS {
            self.kind(kind, workload, sink).with_context(|| kind.name.to_owned())?;
        }
        Ok(())
    }

    fn kind(&mut self, kind: Kind, workload: Workload, sink: &Sink) -> Result<()> {
        let questions = kind.questions(workload, self.extent.questions_in_all());
        let phrases: Vec<Vec<Phrase>> =
            questions.iter().map(|question| self.dialect.phrases(question)).collect();
        let ways = phrases.first().map_or(0, Vec::len);
        let mut best: Option<Asked> = None;
        for way in 0..ways {
            let texts: Vec<&Phrase> = phrases.iter().map(|ways| &ways[way]).collect();
            if way == 0 {
                self.keep_digest(kind, &texts[..self.extent.questions], sink)?;
            }
            let asked = self.measure(&texts)?;
            print_row(kind, &asked);
            if best.as_ref().is_none_or(|best| asked.median < best.median) {
                best = Some(asked);
            }
        }
        let Some(best) = best else {
            println!("{:<24} {:>10}", kind.name, "-");
            return Ok(());
        };
        sink.at("ways").put(&[(kind.name, best.way.to_owned())])?;
        sink.at("queries").put(&[(kind.name, format!("{:.4}", best.median.as_secs_f64() * 1e3))])
    }

    /// Asks the questions that warm up, and keeps what the answers say.
    fn keep_digest(&mut self, kind: Kind, texts: &[&Phrase], sink: &Sink) -> Result<()> {
        let mut digest = Digest::default();
        for phrase in texts {
            self.connection.get(&phrase.text)?;
            digest.take(self.dialect, self.connection.body())?;
        }
        if self.dialect == Dialect::Victoria {
            return Ok(());
        }
        sink.at(&format!("answers-{}", texts.len()))
            .put(&[(kind.name, format!("{} {}", digest.rows, digest.sum))])
    }

    fn measure(&mut self, texts: &[&Phrase]) -> Result<Asked> {
        let (warm_up, measured) = texts.split_at(self.extent.questions);
        for phrase in warm_up {
            self.connection.get(&phrase.text)?;
        }
        let (mut times, mut bytes) = (Vec::new(), 0);
        let start = Instant::now();
        let time_max = Duration::from_secs(self.extent.kind_s);
        for phrase in measured {
            if times.len() >= self.extent.questions && start.elapsed() > time_max {
                break;
            }
            let asked = Instant::now();
            self.connection.get(&phrase.text)?;
            times.push(asked.elapsed());
            bytes += self.connection.body().len();
        }
        times.sort_unstable();
        ensure!(!times.is_empty(), "no question was asked");
        Ok(Asked {
            way: texts[0].way,
            median: quantile(&times, 0.5)?,
            slowest: quantile(&times, 1.0)?,
            times: times.len(),
            bytes: bytes / times.len(),
        })
    }
}

fn print_row(kind: Kind, asked: &Asked) {
    println!(
        "{:<24} {:>10.3} {:>10.3} {:>6} {:>9}  {}",
        kind.name,
        asked.median.as_secs_f64() * 1e3,
        asked.slowest.as_secs_f64() * 1e3,
        asked.times,
        asked.bytes,
        asked.way
    );
}
