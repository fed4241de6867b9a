//! `oribi import`: a file into a node, in batches.

use super::{
    NodeUrl,
    client::{self, Client, accepted},
    head,
    split::{Batch, Header, Quoting, Split},
};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::{Value, value::RawValue};
use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

/// Largest body that is sent as a whole, bytes.
const WHOLE_BYTES_MAX: u64 = 16 << 20;
/// Bytes of JSON elements that go to the node together.
const ELEMENTS_BYTES: usize = 4 << 20;
/// Bytes of a file in which its first object is looked for.
const HEAD_BYTES: u64 = 1 << 20;
/// Rejected rows of a batch that are shown.
const SHOWN_MAX: usize = 5;

/// Flags of `oribi import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file, or - for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    node: NodeUrl,
    /// Database [default: default]
    #[arg(long, value_name = "DB")]
    db: Option<String>,
    /// Table; line protocol names its own.
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// Format [default: by the file's extension]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Columns that are tags, comma-separated.
    #[arg(long, value_name = "NAMES")]
    tags: Option<String>,
    /// The time column, or `now` for the time of the import [default: found by its name: time,
    /// Timestamp, ts, date, …]
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// Unit of times given as numbers: n, us, ms, s, m, h.
    #[arg(long, value_name = "UNIT")]
    precision: Option<String>,
    /// How times in text are written, such as %d.%m.%Y %H:%M:%S, in UTC unless it has a zone
    /// [default: RFC 3339]
    #[arg(long, value_name = "FORMAT")]
    time_format: Option<String>,
    /// What divides the cells of CSV: one character, or tab [default: found in the header]
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// Lines before the header, or before the first row, that are left out.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    skip_lines: u64,
}

fn delimiter(text: &str) -> std::result::Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(*byte),
        _ => Err("expected one character, or tab".into()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// InfluxDB line protocol.
    Lp,
    /// With a header.
    Csv,
    /// An object, or an array of them.
    Json,
    /// One object a line.
    Ndjson,
    /// Arrow IPC, stream or file; up to 16 MiB.
    Arrow,
}

impl Format {
    fn of_file(path: &Path) -> Result<Format> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
        Ok(match extension.to_ascii_lowercase().as_str() {
            "lp" | "line" | "influx" => Format::Lp,
            "csv" => Format::Csv,
            "json" => Format::Json,
            "ndjson" | "jsonl" => Format::Ndjson,
            "arrow" | "arrows" | "ipc" => Format::Arrow,
            _ => bail!("cannot tell the format of {}; say it with --format", path.display()),
        })
    }

    fn as_str(self) -> &'static str {
        match self {
            Format::Lp => "lp",
            Format::Csv => "csv",
            // Elements of an array go as lines.
            Format::Json | Format::Ndjson => "ndjson",
            Format::Arrow => "arrow",
        }
    }
}

/// Sends the file. Status 1 where rows were rejected; the others are stored.
///
/// # Errors
/// A file that cannot be read, or a node that refuses a batch as a whole.
pub(crate) fn run(args: &ImportArgs) -> Result<ExitCode> {
    let shown = args.file.display();
    let format = match args.format {
        Some(format) => format,
        None => Format::of_file(&args.file)?,
    };
    if format != Format::Lp && args.table.is_none() {
        bail!("--table is missing: which table do the rows of {shown} go to?");
    }
    let input: Box<dyn Read> = match args.file.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(&args.file).with_context(|| format!("cannot open {shown}"))?),
    };
    let input = BufReader::with_capacity(1 << 20, input);
    let mut sender = Sender::new(args, format)?;
    let unreadable = || format!("cannot read {shown}");
    if args.skip_lines > 0 && matches!(format, Format::Json | Format::Arrow) {
        bail!("--skip-lines is for formats of lines");
    }
    match format {
        Format::Json => {
            let mut input = sender.look_at_members(input, args).with_context(unreadable)?;
            send_elements(&mut input, &mut sender)
                .with_context(|| format!("stopped after {} bytes of {shown}", sender.bytes))?;
        }
        Format::Arrow => {
            let mut bytes = Vec::new();
            let limited = input.take(WHOLE_BYTES_MAX + 1).read_to_end(&mut bytes);
            if limited.with_context(unreadable)? as u64 > WHOLE_BYTES_MAX {
                bail!("{shown} is larger than {WHOLE_BYTES_MAX} bytes; write it as several files");
            }
            sender.take_time(args, columns_of(&bytes))?;
            sender.send(&Batch { bytes, lines_before: 0 })?;
        }
        _ => {
            let quoting = match format {
                Format::Csv => Quoting::Doubled,
                Format::Lp => Quoting::Escaped,
                _ => Quoting::None,
            };
            let first = if format == Format::Csv { Header::Leads } else { Header::None };
            let input: Box<dyn BufRead> = match format {
                Format::Ndjson => sender.look_at_members(input, args).with_context(unreadable)?,
                _ => Box::new(input),
            };
            let split = Split::new(input, quoting, first, args.skip_lines);
            let split = split.with_context(unreadable)?;
            if format == Format::Csv {
                sender.look_at_header(&head::text(split.header()), args)?;
            }
            for batch in split {
                let batch = batch.with_context(unreadable)?;
                sender.send(&batch).with_context(|| {
                    format!("stopped at line {} of {shown}", batch.lines_before + 1)
                })?;
            }
        }
    }
    sender.finish()
}

/// Sends batches and keeps count.
struct Sender {
    client: Client,
    path: &'static str,
    pairs: Vec<(&'static str, String)>,
    unit: &'static str,
    started: Instant,
    told: Instant,
    bytes: u64,
    rejected: u64,
}

impl Sender {
    fn new(args: &ImportArgs, format: Format) -> Result<Sender> {
        let own = |text: &Option<String>| text.clone().unwrap_or_default();
        let mut pairs = vec![("db", own(&args.db)), ("precision", own(&args.precision))];
        let path = if format == Format::Lp { "/write" } else { "/api/v1/write" };
        if format != Format::Lp {
            pairs.extend([("table", own(&args.table)), ("tags", own(&args.tags))]);
            pairs.extend([
                ("time_format", own(&args.time_format)),
                ("format", format.as_str().to_owned()),
            ]);
        }
        pairs.retain(|(_, value)| !value.is_empty());
        let unit = if matches!(format, Format::Json | Format::Arrow) { "row" } else { "line" };
        let now = Instant::now();
        let client = Client::new(&args.node)?;
        Ok(Sender { client, path, pairs, unit, started: now, told: now, bytes: 0, rejected: 0 })
    }

    /// Finds out what divides the cells, and which column is the time.
    fn look_at_header(&mut self, header: &str, args: &ImportArgs) -> Result<()> {
        let delimiter = args.delimiter.unwrap_or_else(|| head::delimiter(header));
        if delimiter != b',' {
            self.pairs.push(("delimiter", char::from(delimiter).to_string()));
        }
        self.take_time(args, Some(head::split(header, delimiter)))
    }

    /// Finds out which member of the first object is the time, and gives the input back.
    fn look_at_members<'a>(
        &mut self,
        mut input: impl BufRead + 'a,
        args: &ImportArgs,
    ) -> Result<Box<dyn BufRead + 'a>> {
        let mut first = Vec::new();
        (&mut input).take(HEAD_BYTES).read_to_end(&mut first)?;
        let behind = first.split_inclusive(|byte| *byte == b'\n').take(args.skip_lines as usize);
        let skipped: usize = behind.map(<[u8]>::len).sum();
        self.take_time(args, head::members(&first[skipped..]))?;
        Ok(Box::new(io::Cursor::new(first).chain(input)))
    }

    /// Names the time to the node. `columns` are those of the file, where they can be told.
    ///
    /// # Errors
    /// A file without a time, unless `--time now` says what to do about that.
    fn take_time(&mut self, args: &ImportArgs, columns: Option<Vec<String>>) -> Result<()> {
        let listed = |columns: &[String]| columns.join(", ");
        let time = match (args.time.as_deref(), columns) {
            (Some("now"), columns) if columns.iter().flatten().all(|column| column != "now") => {
                return Ok(());
            }
            (Some(time), Some(columns)) if columns.iter().all(|column| column != time) => {
                bail!(
                    "there is no column {time:?} for --time; the columns are: {}",
                    listed(&columns)
                );
            }
            (Some(time), _) => time.to_owned(),
            (None, None) => return Ok(()),
            (None, Some(columns)) => match head::time(&columns) {
                Some(time) => time.clone(),
                None => bail!(
                    "no column is the time by its name; the columns are: {}. Say which one is with \
                     --time COLUMN, or --time now for the time of the import{}",
                    listed(&columns),
                    if columns.len() == 1 {
                        ". Is it all one column? --delimiter divides it"
                    } else {
                        ""
                    },
                ),
            },
        };
        self.pairs.push(("time", time));
        Ok(())
    }

    fn send(&mut self, batch: &Batch) -> Result<()> {
        const TELL_EVERY: Duration = Duration::from_secs(2);
        const TRIES_MAX: u32 = 60;
        let pairs: Vec<(&str, &str)> =
            self.pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut tries = 0;
        let answer = loop {
            let answer = self.client.post(self.path, &pairs, &batch.bytes)?;
            tries += 1;
            if answer.status().as_u16() != 503 || tries == TRIES_MAX {
                break answer;
            }
            thread::sleep(Duration::from_secs(client::retry_after_s(&answer).unwrap_or(1).min(30)));
        };
        self.bytes += batch.bytes.len() as u64;
        if answer.status().as_u16() == 400 {
            self.report(&client::json(answer)?, batch.lines_before)?;
        } else {
            accepted(answer)?;
        }
        if self.told.elapsed() > TELL_EVERY {
            self.told = Instant::now();
            eprintln!("{:.1} MiB sent", self.bytes as f64 / f64::from(1 << 20));
        }
        Ok(())
    }

    /// Tells which rows were rejected; an error where the batch as a whole was.
    fn report(&mut self, problem: &Value, lines_before: u64) -> Result<()> {
        let detail =
            problem["detail"].as_str().or(problem["message"].as_str()).unwrap_or("refused");
        let listed = problem["rejected"].as_array().or(problem["data"].as_array());
        let listed = listed.filter(|listed| !listed.is_empty());
        let Some(listed) = listed else { return Err(anyhow!("{detail}")) };
        // Line protocol's answer ends in `dropped=N`, or lists every line that was refused.
        let dropped = detail.rsplit_once("dropped=").and_then(|(_, count)| count.parse().ok());
        let count = problem["rows_rejected"].as_u64().or(dropped).unwrap_or(listed.len() as u64);
        self.rejected += count;
        for one in listed.iter().take(SHOWN_MAX) {
            let place = one["line_number"].as_u64().or(one["row"].as_u64()).unwrap_or(0);
            let reason = one["error_message"].as_str().or(one["detail"].as_str()).unwrap_or("");
            eprintln!("{} {}: {reason}", self.unit, lines_before + place);
        }
        if count > SHOWN_MAX as u64 {
            eprintln!("and {} more", count - SHOWN_MAX as u64);
        }
        Ok(())
    }

    fn finish(self) -> Result<ExitCode> {
        let seconds = self.started.elapsed().as_secs_f64().max(1e-9);
        let mib = self.bytes as f64 / f64::from(1 << 20);
        let rate = mib / seconds;
        eprintln!("{mib:.1} MiB in {seconds:.1} s ({rate:.1} MiB/s), {} rejected", self.rejected);
        Ok(if self.rejected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The columns of an Arrow stream or file, where they can be told.
fn columns_of(bytes: &[u8]) -> Option<Vec<String>> {
    let named = |schema: &arrow_schema::Schema| {
        schema.fields().iter().map(|field| field.name().clone()).collect()
    };
    let stream = arrow_ipc::reader::StreamReader::try_new(bytes, None);
    if let Ok(reader) = stream {
        return Some(named(&reader.schema()));
    }
    let file = arrow_ipc::reader::FileReader::try_new(io::Cursor::new(bytes), None);
    file.ok().map(|reader| named(&reader.schema()))
}

/// Sends a JSON file's objects as lines, without holding the file in memory.
fn send_elements(input: &mut impl BufRead, sender: &mut Sender) -> Result<()> {
    let first = loop {
        match input.fill_buf()?.first() {
            Some(byte) if byte.is_ascii_whitespace() => input.consume(1),
            first => break first.copied(),
        }
    };
    let mut lines = Lines { sender, bytes: Vec::new(), in_batch: 0, before: 0 };
    let mut reader = serde_json::Deserializer::from_reader(input);
    if first == Some(b'[') {
        reader.deserialize_seq(&mut lines)?;
    } else {
        let object = <Box<RawValue> as serde::Deserialize>::deserialize(&mut reader)?;
        lines.push(&object)?;
    }
    reader.end()?;
    lines.send()
}

/// Elements on their way.
struct Lines<'a> {
    sender: &'a mut Sender,
    bytes: Vec<u8>,
    in_batch: u64,
    before: u64,
}

impl Lines<'_> {
    fn push(&mut self, element: &RawValue) -> Result<()> {
        // An end of line between members means nothing, and cannot stand within a text.
        let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
        self.bytes.extend(element.get().bytes().filter(|byte| !is_break(byte)));
        self.bytes.push(b'\n');
        self.in_batch += 1;
        if self.bytes.len() > ELEMENTS_BYTES { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        let batch = Batch { bytes, lines_before: self.before };
        self.before += std::mem::take(&mut self.in_batch);
        if batch.bytes.is_empty() { Ok(()) } else { self.sender.send(&batch) }
    }
}

impl<'de> Visitor<'de> for &mut Lines<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<Box<RawValue>>()? {
            self.push(&element).map_err(|wrong| serde::de::Error::custom(format!("{wrong:#}")))?;
        }
        Ok(())
    }
}
