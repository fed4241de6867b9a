//! The shorter commands: load, count, publish, and what they print.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail, ensure};

use crate::{
    answer,
    ask::Extent,
    bodies::{Bodies, entropy},
    dialect::Dialect,
    http::{Connection, Payload, Target},
    load::{Load, quantile},
    mqtt::Publishing,
    process::{Process, load_average},
    questions::KINDS,
    results::Sink,
    workload::{UseCase, Workload, cpu::each_row},
};

/// Says what the bodies hold.
///
/// # Errors
/// The results cannot be written.
pub(crate) fn generated(bodies: &Bodies, sink: &Sink) -> Result<()> {
    let rows = bodies.counts.rows;
    let line_bytes = bodies.bytes() as f64 / rows as f64;
    println!("{rows} rows in {} bodies, {line_bytes:.0} bytes a line", bodies.len());
    sink.put(&[("rows", rows.to_string())])?;
    if bodies.workload.use_case == UseCase::Cpu {
        let entropy = entropy(bodies.workload);
        println!("entropy of first differences {entropy:.3} bytes");
        sink.put(&[("entropy_bytes", format!("{entropy:.4}"))])?;
    }
    Ok(())
}

/// Writes all rows as CSV.
///
/// # Errors
/// What the file system answers.
pub(crate) fn write_csv(out: &Path, workload: Workload) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(out)?);
    let mut line = Vec::with_capacity(256);
    each_row(workload, |_, row| {
        line.clear();
        row.write_csv(&mut line);
        file.write_all(&line)
    })?;
    file.flush()?;
    Ok(())
}

/// Sends all bodies and says how fast it went.
///
/// # Errors
/// A client fails, or the server's process is gone.
pub(crate) fn load(
    bodies: &Bodies,
    url: &Target,
    clients: usize,
    server: Option<Process>,
    sink: &Sink,
) -> Result<()> {
    let busy = load_average()?;
    let cpu_before_s = server.map(Process::cpu_s).transpose()?;
    let load = Load::new(bodies, url);
    let loaded = load.run(clients)?;
    let rows = load.acked_rows();
    let rate = rows as f64 / loaded.elapsed.as_secs_f64();
    let p50_ms = quantile(&loaded.acks, 0.5)?.as_secs_f64() * 1e3;
    let p99_ms = quantile(&loaded.acks, 0.99)?.as_secs_f64() * 1e3;
    println!(
        "{} with {clients} clients: {rate:.0} rows/s, ack p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, \
         {} refusals; load average before {busy:.1}",
        sink.system,
        load.refused()
    );
    let mut values = vec![
        ("rows_per_s", format!("{rate:.0}")),
        ("ack_p50_ms", format!("{p50_ms:.3}")),
        ("ack_p99_ms", format!("{p99_ms:.3}")),
        ("refused", load.refused().to_string()),
        ("load_average_before", busy.to_string()),
    ];
    if let Some((server, before_s)) = server.zip(cpu_before_s) {
        let cpu_s = server.cpu_s()? - before_s;
        let share = rows as f64 / bodies.counts.rows as f64;
        let metrics = bodies.counts.metrics as f64 * share / cpu_s.max(0.01);
        let peak_mib = server.rss_peak_bytes()? as f64 / f64::from(1 << 20);
        println!("  {cpu_s:.1} CPU s, {metrics:.0} metrics a CPU s, peak {peak_mib:.0} MiB");
        values.push(("metrics_per_cpu_s", format!("{metrics:.0}")));
        values.push(("rss_peak_mib", format!("{peak_mib:.1}")));
    }
    sink.put(&values)
}

/// Waits until a server shows all rows.
///
/// # Errors
/// There are more rows than were sent, or too few for too long.
pub(crate) fn wait_for_rows(
    dialect: Dialect,
    addr: &str,
    wait: Duration,
    bodies: &Bodies,
) -> Result<()> {
    let start = Instant::now();
    let mut connection = Connection::new(addr);
    let sent = if dialect.replaces_rows() { bodies.counts.keys } else { bodies.counts.rows };
    let paths = dialect.count_paths(&bodies.workload);
    loop {
        let mut rows = 0;
        for path in &paths {
            connection.get(path)?;
            rows += answer::count(dialect, connection.body())?;
        }
        if rows == sent {
            println!("{rows} rows visible {:.2} s after asking", start.elapsed().as_secs_f64());
            return Ok(());
        }
        ensure!(rows < sent, "{rows} rows, only {sent} were sent");
        ensure!(start.elapsed() < wait, "{rows} of {sent} rows after {wait:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Prints every question that a dialect can express.
pub(crate) fn print_questions(dialect: Dialect, extent: Extent, workload: Workload) {
    for kind in KINDS {
        for question in kind.questions(workload, extent.questions_in_all()) {
            for phrase in dialect.phrases(&question) {
                println!("{}\t{}", kind.name, phrase.text);
            }
        }
    }
}

/// Publishes everything and says how fast it went; counts the rows where Oribi took them.
///
/// # Errors
/// A publisher fails, or Oribi counts other rows than were acked.
pub(crate) fn publish(
    publishing: &Publishing,
    count_addr: Option<&str>,
    server: Option<Process>,
    sink: &Sink,
) -> Result<()> {
    let cpu_before_s = server.map(Process::cpu_s).transpose()?;
    let published = publishing.run()?;
    let rate = published.acked as f64 / published.elapsed.as_secs_f64();
    let p50_ms = published.ack_p50.as_secs_f64() * 1e3;
    let p99_ms = published.ack_p99.as_secs_f64() * 1e3;
    println!("{}: {rate:.0} messages/s, ack p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms", sink.system);
    let mut values = vec![
        ("messages_per_s", format!("{rate:.0}")),
        ("ack_p50_ms", format!("{p50_ms:.3}")),
        ("ack_p99_ms", format!("{p99_ms:.3}")),
    ];
    if let Some((server, before_s)) = server.zip(cpu_before_s) {
        let each_us = (server.cpu_s()? - before_s) * 1e6 / published.acked as f64;
        println!("  {each_us:.2} us of CPU a message");
        values.push(("cpu_us_per_message", format!("{each_us:.3}")));
    }
    if let Some(addr) = count_addr {
        let mut connection = Connection::new(addr);
        connection.get("/api/v1/query?table=sensors&select=count(*)")?;
        let rows = answer::count(Dialect::Oribi, connection.body())?;
        println!("  {rows} rows stored of {} acked", published.acked);
        values.push(("rows_stored", rows.to_string()));
        sink.put(&values)?;
        ensure!(rows == published.acked, "{rows} rows stored, {} acked", published.acked);
        return Ok(());
    }
    sink.put(&values)
}

/// Asks once, or until it works, and prints the answer.
///
/// # Errors
/// The time is over without a status of 2xx.
pub(crate) fn ask_once(method: &str, url: &Target, wait: Duration) -> Result<()> {
    let start = Instant::now();
    loop {
        let mut connection = Connection::new(&url.authority);
        let answered = connection.request(method, &url.path, Payload::Nothing);
        let outcome = match answered {
            Ok(head) if (200..300).contains(&head.status) => {
                io::stdout().write_all(connection.body())?;
                return Ok(());
            }
            Ok(head) => anyhow!("status {}: {}", head.status, connection.body_text()),
            Err(error) => error,
        };
        if start.elapsed() >= wait {
            bail!(outcome.context(format!("{method} {}", url.path)));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// What a system takes once it has come to rest.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Rest {
    /// Length of all files in the data directory, bytes.
    #[arg(long)]
    bytes: u64,
    /// What their blocks take: less where files are made ahead and still empty, bytes.
    #[arg(long)]
    blocks: u64,
    /// Id of the server's process, where it still runs: its memory, and what it wrote.
    #[arg(long)]
    pid: Option<u32>,
}

/// Keeps how much a system takes at rest.
///
/// # Errors
/// The server's process is gone, or the results cannot be written.
pub(crate) fn keep_rest(rest: Rest, bodies: &Bodies, sink: &Sink) -> Result<()> {
    let Rest { bytes, blocks, pid } = rest;
    let each = |bytes: u64| bytes as f64 / bodies.counts.metrics as f64;
    let (length, taken) = (each(bytes), each(blocks));
    println!("{}: {bytes} bytes of files, {length:.3} a metric; on disk {taken:.3}", sink.system);
    sink.put(&[
        ("bytes", bytes.to_string()),
        ("bytes_per_metric", format!("{length:.4}")),
        ("blocks_per_metric", format!("{taken:.4}")),
    ])?;
    let Some(server) = pid.map(Process::new) else { return Ok(()) };
    let steady_mib = server.rss_bytes()? as f64 / f64::from(1 << 20);
    println!("  {steady_mib:.0} MiB of memory");
    sink.put(&[("rss_steady_mib", format!("{steady_mib:.1}"))])?;
    // Peers write through mapped memory.
    if sink.system != "oribi" {
        return Ok(());
    }
    let written_ratio = server.written_bytes()? as f64 / bytes as f64;
    println!("  {written_ratio:.2} bytes written a byte kept");
    sink.put(&[("written_ratio", format!("{written_ratio:.3}"))])
}
