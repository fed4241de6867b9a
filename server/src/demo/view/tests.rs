use super::*;
use crate::demo::{recordings::Recording, replay::Pace};
use std::sync::Arc;

fn devices(number: usize) -> Vec<Device> {
    let recording = Arc::new(Recording::parse("s", "d", "step_s,a\n60,1\n").unwrap());
    let pace = Pace {
        history_from_ns: 0,
        recent_from_ns: 0,
        now_ns: 0,
        recent_step_ns: 1,
        step_ns: 1,
        phase_ns: 0,
        shift_s: 0,
    };
    (0..number)
        .map(|place| Device {
            site: "s",
            name: format!("d{place}"),
            recording: recording.clone(),
            pace,
            run: 1,
        })
        .collect()
}

fn node(id: u32, state: &str, leaders: u64) -> NodeState {
    NodeState { id, state: state.into(), http: String::new(), replicas: 30, leaders }
}

fn drawn(devices: &[Device], nodes: &[NodeState], size: Size) -> Vec<String> {
    let key = ("s".to_owned(), "d0".to_owned(), "a".to_owned());
    let windows = Windows::from([(key, vec![Some(1.0), None, Some(2.0)])]);
    let scene = Scene {
        elapsed: Duration::from_secs(65),
        ends: None,
        devices,
        live: devices.len(),
        counts: Counts { sent: 12_345, acked: 12_000, refused: 0 },
        sent_rate: 1_234.4,
        acked_rate: 1_200.0,
        latency: Some(Latency { p50: Duration::from_millis(1), p99: Duration::from_millis(4) }),
        windows: &windows,
        failure: None,
        nodes,
        doors: Doors { http: ([127, 0, 0, 1], 8640).into(), mqtt: ([127, 0, 0, 1], 1884).into() },
    };
    let join = |line: Line| line.into_iter().map(|(_, piece)| piece).collect::<String>();
    frame(&scene, size).into_iter().map(join).collect()
}

#[test]
fn a_picture_holds_figures_windows_and_hints() {
    let text = drawn(&devices(2), &[], Size { columns: 120, rows: 30 }).join("\n");
    for part in
        ["1:05", "1,234", "12,345", "1.00 ms", "4.00 ms", "s/d0", "▁ █", "http://127.0.0.1:8640/"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.contains("mosquitto_pub -p 1884 -q 1"));
}

#[test]
fn nodes_are_drawn_with_what_they_lead() {
    let nodes = [node(1, "up", 12), node(2, "down", 0)];
    let text = drawn(&devices(2), &nodes, Size { columns: 120, rows: 40 }).join("\n");
    for part in ["node 1   up", "leads   12 of   30", "████████████\n", "node 2   down", "k kills"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_picture_fits_any_terminal() {
    let nodes = [node(1, "up", 1_000), node(2, "up", 0), node(3, "down", 0)];
    for (columns, rows) in [(0, 0), (1, 1), (20, 5), (80, 24), (300, 100)] {
        for number in [1, 10, 500] {
            let lines = drawn(&devices(number), &nodes, Size { columns, rows });
            assert!(lines.len() <= rows, "{columns} × {rows}");
            assert!(lines.iter().all(|line| line.chars().count() <= columns));
        }
    }
    let text = drawn(&devices(500), &[], Size { columns: 80, rows: 24 }).join("\n");
    assert!(text.contains("more") && text.contains("mosquitto_pub"), "{text}");
}
