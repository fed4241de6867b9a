//! The real binary, started on free ports and watched through its log.
#![allow(dead_code, unreachable_pub, reason = "no test file uses all of it")]

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};
use ureq::Agent;

/// Far more than anything takes; only a hang runs into it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running node.
pub struct Oribi {
    child: Child,
    lines: Receiver<String>,
    /// What was logged so far.
    pub log: Vec<String>,
    /// Address of HTTP.
    pub http: String,
    /// Address of the MQTT listener.
    pub mqtt: String,
    agent: Agent,
}

/// The binary, without configuration of whoever runs the tests.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oribi"));
    command.args(args);
    for (name, _) in std::env::vars() {
        if name.starts_with("ORIBI_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the binary to its end.
pub fn run(args: &[&str]) -> Output {
    command(args).stdin(Stdio::null()).output().unwrap()
}

/// What went to standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What went to standard output.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Flags for free ports.
pub const FREE_PORTS: [&str; 6] = [
    "--http-listen",
    "127.0.0.1:0",
    "--mqtt-listen",
    "127.0.0.1:0",
    "--node-listen",
    "127.0.0.1:0",
];

impl Oribi {
    /// Starts a node and waits until it serves.
    pub fn start(data_dir: &Path, args: &[&str]) -> Oribi {
        let mut oribi = Oribi::spawn(data_dir, args);
        oribi.wait_for("serving");
        oribi
    }

    /// Starts a node and waits until its addresses are known.
    pub fn spawn(data_dir: &Path, args: &[&str]) -> Oribi {
        let mut command = command(&["serve", "--data-dir", data_dir.to_str().unwrap()]);
        let mut child = command
            .args(FREE_PORTS)
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build();
        let (http, mqtt) = (String::new(), String::new());
        let mut oribi = Oribi { child, lines, log: Vec::new(), http, mqtt, agent: config.into() };
        let line = oribi.wait_for("listening");
        let address = |name: &str| {
            let word = line.split_whitespace().find_map(|word| word.strip_prefix(name));
            word.unwrap_or_else(|| panic!("no {name} in {line:?}")).to_owned()
        };
        (oribi.http, oribi.mqtt) = (address("http="), address("mqtt="));
        oribi
    }

    /// Waits for a line of the log that holds `text`.
    pub fn wait_for(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.log.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {text:?} in {:#?}", self.log),
                Err(RecvTimeoutError::Disconnected) => panic!("ended with {:#?}", self.log),
            }
        }
    }

    /// Whether a line of the log that came by now and was not waited for holds `text`.
    pub fn has_logged(&mut self, text: &str) -> bool {
        let lines: Vec<String> = self.lines.try_iter().collect();
        let found = lines.iter().any(|line| line.contains(text));
        self.log.extend(lines);
        found
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends a signal and waits for the end.
    pub fn end(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.child.wait().unwrap()
    }

    /// GET.
    pub fn get(&self, path: &str) -> Answer {
        Answer::of(self.agent.get(self.url(path)).call().unwrap())
    }

    /// GET with a header.
    pub fn get_with(&self, path: &str, name: &str, value: &str) -> Answer {
        Answer::of(self.agent.get(self.url(path)).header(name, value).call().unwrap())
    }

    /// POST.
    pub fn post(&self, path: &str, body: &str) -> Answer {
        Answer::of(self.agent.post(self.url(path)).send(body).unwrap())
    }

    /// POST with a header.
    pub fn post_with(&self, path: &str, name: &str, value: &str, body: &[u8]) -> Answer {
        Answer::of(self.agent.post(self.url(path)).header(name, value).send(body).unwrap())
    }

    /// PUT.
    pub fn put(&self, path: &str, body: &str) -> Answer {
        Answer::of(self.agent.put(self.url(path)).send(body).unwrap())
    }

    /// PATCH.
    pub fn patch(&self, path: &str, body: &str) -> Answer {
        Answer::of(self.agent.patch(self.url(path)).send(body).unwrap())
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Answer {
        Answer::of(self.agent.delete(self.url(path)).call().unwrap())
    }

    /// The rows of a window question.
    pub fn rows(&self, question: &str) -> Value {
        let answer = self.get(&format!("/api/v1/query?{question}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["rows"].clone()
    }

    /// The address of HTTP as a URL.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }
}

impl Drop for Oribi {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    fn of(answer: ureq::http::Response<ureq::Body>) -> Answer {
        let (parts, mut body) = answer.into_parts();
        let kind = parts.headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
        let mut bytes = Vec::new();
        body.as_reader().read_to_end(&mut bytes).unwrap();
        let kind = kind.to_owned();
        Answer { status: parts.status.as_u16(), kind, headers: parts.headers, body: bytes }
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Asserts a problem document of this status, and gives it.
    #[track_caller]
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.kind, "application/problem+json", "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
        problem
    }
}
