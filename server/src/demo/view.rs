//! What the terminal shows, as lines of styled text; pure, so that any size can be tried.

use super::{
    ask::{NodeState, WINDOW, WINDOWS, Windows},
    device::Device,
    fleet::Doors,
    sparkline::sparkline,
    tally::{Counts, Latency},
    text,
};
use std::time::Duration;

/// How a piece of text is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// As it is.
    Plain,
    /// Figures and names.
    Strong,
    /// Words around them.
    Faint,
    /// Bars.
    Bars,
}

/// A line: pieces from left to right.
pub(super) type Line = Vec<(Style, String)>;

/// Columns and rows of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// Characters in a row.
    pub(super) columns: usize,
    /// Rows.
    pub(super) rows: usize,
}

/// What there is to show.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    /// Time since the start.
    pub(super) elapsed: Duration,
    /// When it ends by itself.
    pub(super) ends: Option<Duration>,
    /// The devices.
    pub(super) devices: &'a [Device],
    /// Devices that have sent their history.
    pub(super) live: usize,
    /// Rows so far.
    pub(super) counts: Counts,
    /// Rows sent a second, lately.
    pub(super) sent_rate: f64,
    /// Rows acked a second, lately.
    pub(super) acked_rate: f64,
    /// How long acks took, lately.
    pub(super) latency: Option<Latency>,
    /// The last windows of the devices.
    pub(super) windows: &'a Windows,
    /// Why there are none, where asking failed.
    pub(super) failure: Option<&'a str>,
    /// The nodes, where they are several.
    pub(super) nodes: &'a [NodeState],
    /// Where a node listens.
    pub(super) doors: Doors,
}

/// The whole picture, no longer and no wider than the terminal.
pub(super) fn frame(scene: &Scene<'_>, size: Size) -> Vec<Line> {
    let mut lines = vec![title(scene), Line::new()];
    lines.extend(figures(scene));
    lines.push(Line::new());
    lines.extend(nodes(scene.nodes));
    let below = hints(scene.doors);
    // One line for the bottom edge, where a cursor at rest would scroll the picture.
    let room = size.rows.saturating_sub(lines.len() + below.len() + 3);
    lines.extend(devices(scene, size.columns, room.max(1)));
    lines.push(Line::new());
    lines.extend(below);
    lines.truncate(size.rows.saturating_sub(1));
    for line in &mut lines {
        cut(line, size.columns);
    }
    lines
}

/// The addresses and lines to try, also where there is no terminal.
pub(super) fn hints(Doors { http, mqtt }: Doors) -> Vec<Line> {
    let port = if mqtt.port() == 1883 { String::new() } else { format!(" -p {}", mqtt.port()) };
    let host = if mqtt.ip().is_loopback() { String::new() } else { format!(" -h {}", mqtt.ip()) };
    // Each fits into 80 columns, and can be copied as it stands.
    let lines = [
        ("Page", vec![format!("http://{http}/")]),
        (
            "Window",
            vec![
                format!("curl -G http://{http}/api/v1/query -d table=sensors \\"),
                "  -d 'select=mean(temperature)' -d window=1d -d group_by=site".to_owned(),
            ],
        ),
        (
            "SQL",
            vec![
                format!("curl -G http://{http}/api/v1/sql --data-urlencode \\"),
                "  'q=SELECT device, max(temperature) FROM sensors GROUP BY device'".to_owned(),
            ],
        ),
        (
            "Send",
            vec![format!(
                "mosquitto_pub{host}{port} -q 1 -t sensors/site1/dev7 -m '{{\"temperature\":21.5}}'"
            )],
        ),
    ];
    let mut out = Vec::new();
    for (word, whats) in lines {
        for (place, what) in whats.into_iter().enumerate() {
            let word = if place == 0 { word } else { "" };
            out.push(vec![(Style::Faint, format!("{word:<8}")), (Style::Plain, what)]);
        }
    }
    out
}

fn title(scene: &Scene<'_>) -> Line {
    let devices = scene.devices.len();
    let doing = match devices - scene.live.min(devices) {
        0 => format!("{devices} devices, MQTT 5, QoS 1"),
        behind => format!("{behind} of {devices} devices are sending 28 days of history"),
    };
    let left = scene.ends.map(|ends| ends.saturating_sub(scene.elapsed));
    let end = match left {
        Some(left) => format!("ends in {}", text::clock(left)),
        None => "Ctrl-C ends it".to_owned(),
    };
    vec![
        (Style::Strong, "Oribi demo".to_owned()),
        (Style::Plain, format!("  {}  {doing}", text::clock(scene.elapsed))),
        (Style::Faint, format!("  {end}")),
    ]
}

fn figures(scene: &Scene<'_>) -> [Line; 2] {
    let rate = |rate: f64| text::count(rate.max(0.0).round() as u64);
    let latency = |pick: fn(&Latency) -> Duration| {
        scene.latency.as_ref().map_or("–".to_owned(), |latency| text::ms(pick(latency)))
    };
    let figures = [
        ("rows/s", rate(scene.sent_rate)),
        ("acked/s", rate(scene.acked_rate)),
        ("ack p50", latency(|latency| latency.p50)),
        ("ack p99", latency(|latency| latency.p99)),
        ("rows sent", text::count(scene.counts.sent)),
        ("rows acked", text::count(scene.counts.acked)),
    ];
    const WIDTH: usize = 12;
    let words = figures.iter().map(|(word, _)| (Style::Faint, format!("{word:<WIDTH$}"))).collect();
    let numbers =
        figures.iter().map(|(_, figure)| (Style::Strong, format!("{figure:<WIDTH$}"))).collect();
    [words, numbers]
}

/// Who leads how much.
fn nodes(nodes: &[NodeState]) -> Vec<Line> {
    const LEADS_MAX: usize = 40;
    if nodes.is_empty() {
        return Vec::new();
    }
    let line = |node: &NodeState| {
        let leads = usize::try_from(node.leaders).map_or(LEADS_MAX, |leads| leads.min(LEADS_MAX));
        let style = if node.state == "up" { Style::Strong } else { Style::Faint };
        let words = format!("leads {:>4} of {:>4} replicas ", node.leaders, node.replicas);
        vec![
            (Style::Plain, format!("node {:<3} ", node.id)),
            (style, format!("{:<8} ", node.state)),
            (Style::Faint, words),
            (Style::Bars, "█".repeat(leads)),
        ]
    };
    let mut lines: Vec<Line> = nodes.iter().map(line).collect();
    lines.push(vec![(Style::Faint, "k kills the node that leads most".to_owned())]);
    lines.push(Line::new());
    lines
}

fn devices(scene: &Scene<'_>, columns: usize, room: usize) -> Vec<Line> {
    const NAME: usize = 18;
    const FIELD: usize = 12;
    const VALUE: usize = 9;
    let bars = columns.saturating_sub(NAME + FIELD + VALUE + 3).min(WINDOWS);
    let note = match scene.failure {
        Some(failure) => format!("no windows: {failure}"),
        None => format!("means of {WINDOW}, asked at /api/v1/query"),
    };
    let head = format!("{:<NAME$} {:<FIELD$} {:>VALUE$} ", "site/device", "field", "last");
    let mut lines = vec![vec![(Style::Faint, head + &note)]];
    let shown = if scene.devices.len() > room { room.saturating_sub(1) } else { room };
    for device in scene.devices.iter().take(shown) {
        let field = device.recording.fields.first().map_or("", |field| field.name.as_str());
        let key = (device.site.to_owned(), device.name.clone(), field.to_owned());
        let values = scene.windows.get(&key).map(Vec::as_slice).unwrap_or_default();
        let last = values.iter().rev().copied().flatten().next();
        let last = last.map_or("–".to_owned(), text::value);
        lines.push(vec![
            (Style::Plain, format!("{:<NAME$} ", format!("{}/{}", device.site, device.name))),
            (Style::Faint, format!("{field:<FIELD$} ")),
            (Style::Strong, format!("{last:>VALUE$} ")),
            (Style::Bars, sparkline(values, bars)),
        ]);
    }
    if scene.devices.len() > shown {
        lines.push(vec![(Style::Faint, format!("and {} more", scene.devices.len() - shown))]);
    }
    lines
}

/// Cuts a line to a width in characters; all that is shown is one column wide.
fn cut(line: &mut Line, columns: usize) {
    let mut left = columns;
    for (_, piece) in line.iter_mut() {
        let end = piece.char_indices().nth(left).map_or(piece.len(), |(at, _)| at);
        piece.truncate(end);
        left -= piece.chars().count();
    }
}

#[cfg(test)]
mod tests;
