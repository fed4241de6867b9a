//! The loader: clients that each keep one connection busy with the next unsent body.

use std::{
    fs::File,
    io::{Seek, SeekFrom},
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    bodies::Bodies,
    http::{Connection, Payload, Target},
    workload::Workload,
};

/// How often one body is sent again after 503 before the run counts as failed.
const REFUSALS_MAX: u32 = 120;

/// Bodies on their way to a server, shared by the clients and by who watches them.
pub(crate) struct Load<'a> {
    bodies: &'a Bodies,
    target: &'a Target,
    next: AtomicUsize,
    sent_rows: AtomicU64,
    acked_rows: AtomicU64,
    refused: AtomicU64,
    stopped: AtomicBool,
}

/// What a whole load took.
pub(crate) struct Loaded {
    /// From the first byte sent to the last ack.
    pub(crate) elapsed: Duration,
    /// Times from the first byte of a body to its ack, in ascending order.
    pub(crate) acks: Vec<Duration>,
}

impl<'a> Load<'a> {
    /// All bodies, none of them sent yet.
    pub(crate) fn new(bodies: &'a Bodies, target: &'a Target) -> Load<'a> {
        Load {
            bodies,
            target,
            next: AtomicUsize::new(0),
            sent_rows: AtomicU64::new(0),
            acked_rows: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// HOST:PORT of the server.
    pub(crate) fn authority(&self) -> &str {
        &self.target.authority
    }

    /// What is sent.
    pub(crate) fn workload(&self) -> &Workload {
        &self.bodies.workload
    }

    /// Rows that the server acknowledged so far.
    pub(crate) fn acked_rows(&self) -> u64 {
        self.acked_rows.load(Ordering::SeqCst)
    }

    /// Rows whose sending began so far.
    pub(crate) fn sent_rows(&self) -> u64 {
        self.sent_rows.load(Ordering::SeqCst)
    }

    /// Answers of 503 so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// Lets every client end after the body that it is sending.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Sends everything with so many clients at once.
    ///
    /// # Errors
    /// The first client that fails: the connection breaks, or an answer is neither 204 nor 503.
    pub(crate) fn run(&self, clients: usize) -> Result<Loaded> {
        let start = Instant::now();
        let acks = thread::scope(|scope| -> Result<Vec<Duration>> {
            let handles: Vec<_> = (0..clients).map(|_| scope.spawn(|| self.client())).collect();
            let mut acks = Vec::new();
            let mut failed = None;
            for handle in handles {
                match handle.join() {
                    Ok(Ok(own)) => acks.extend(own),
                    Ok(Err(error)) => failed = failed.or(Some(error)),
                    Err(_) => bail!("a client panicked"),
                }
            }
            failed.map_or(Ok(acks), Err)
        });
        let elapsed = start.elapsed();
        let mut acks = acks?;
        acks.sort_unstable();
        Ok(Loaded { elapsed, acks })
    }

    fn client(&self) -> Result<Vec<Duration>> {
        let outcome = self.client_loop();
        if outcome.is_err() {
            self.stop();
        }
        outcome
    }

    fn client_loop(&self) -> Result<Vec<Duration>> {
        let mut file = File::open(&self.bodies.path)?;
        let mut connection = Connection::new(&self.target.authority);
        let mut acks = Vec::new();
        while !self.stopped.load(Ordering::SeqCst) {
            let place = self.next.fetch_add(1, Ordering::SeqCst);
            if place >= self.bodies.len() {
                break;
            }
            let body = self.bodies.body(place);
            self.sent_rows.fetch_add(body.rows, Ordering::SeqCst);
            let start = Instant::now();
            let mut refusals = 0;
            loop {
                file.seek(SeekFrom::Start(body.offset))?;
                let payload = Payload::FromFile(&mut file, body.bytes);
                let head = connection.request("POST", &self.target.path, payload)?;
                match head.status {
                    204 => break,
                    503 if refusals < REFUSALS_MAX => {
                        refusals += 1;
                        self.refused.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(Duration::from_secs(head.retry_after_s.unwrap_or(1)));
                    }
                    other => bail!("expected 204, got {other}: {}", connection.body_text()),
                }
            }
            acks.push(start.elapsed());
            self.acked_rows.fetch_add(body.rows, Ordering::SeqCst);
        }
        Ok(acks)
    }
}

/// The value below which `share` (0.0 to 1.0) of the sorted times lie.
///
/// # Errors
/// There are no times.
pub(crate) fn quantile(sorted: &[Duration], share: f64) -> Result<Duration> {
    let last = sorted.len().checked_sub(1).context("nothing was measured")?;
    Ok(sorted[(last as f64 * share).round() as usize])
}

#[cfg(test)]
mod tests {
    use std::{
        env, fs,
        io::{BufRead, BufReader, Read, Write},
        net::{TcpListener, TcpStream},
        sync::Mutex,
    };

    use super::*;
    use crate::workload::UseCase;

    /// Answers every first body of a connection with 503 and all later ones with 204; keeps the
    /// lines that it took.
    fn serve(stream: TcpStream, lines: &Mutex<Vec<String>>) {
        let mut answer = stream.try_clone().unwrap();
        let mut reader = BufReader::new(stream);
        let mut refused = false;
        loop {
            let (mut length, mut line) = (0, String::new());
            loop {
                line.clear();
                if reader.read_line(&mut line).unwrap() == 0 {
                    return;
                }
                if let Some(value) = line.strip_prefix("Content-Length: ") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            if refused {
                let text = String::from_utf8(body).unwrap();
                lines.lock().unwrap().extend(text.lines().map(str::to_owned));
                answer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
            } else {
                refused = true;
                let head = b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
                answer.write_all(head).unwrap();
            }
        }
    }

    #[test]
    fn every_row_arrives_once_also_after_a_refusal() {
        let dir = env::temp_dir().join(format!("oribi-bench-load-{}", std::process::id()));
        let workload = Workload { use_case: UseCase::Cpu, hosts: 3, hours: 1, seed: 1 };
        let bodies = Bodies::prepare(&dir, workload, 100).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = format!("http://{}/write", listener.local_addr().unwrap()).parse().unwrap();
        let lines = Mutex::new(Vec::new());
        let load = Load::new(&bodies, &target);
        thread::scope(|scope| {
            scope.spawn(|| serve(listener.accept().unwrap().0, &lines));
            load.run(1).unwrap();
        });
        assert_eq!((load.acked_rows(), load.refused()), (bodies.counts.rows, 1));
        let mut lines = lines.into_inner().unwrap();
        lines.sort();
        let mut sent: Vec<String> =
            fs::read_to_string(&bodies.path).unwrap().lines().map(str::to_owned).collect();
        sent.sort();
        assert_eq!(lines, sent);
        fs::remove_dir_all(&dir).unwrap();
    }
}
