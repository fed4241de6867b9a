use super::*;
use std::collections::HashSet;

#[test]
fn devices_have_names_of_their_own_and_times_of_their_own() {
    let devices = plan::devices(25, 20, 7).unwrap();
    let names: HashSet<_> = devices.iter().map(|device| (device.site, &device.name)).collect();
    assert_eq!(names.len(), 25);
    let phases: HashSet<_> = devices.iter().map(|device| device.pace.phase_ns).collect();
    assert_eq!(phases.len(), 25);
    assert!(devices.iter().all(|device| device.pace.step_ns == 1_250_000_000));
}

#[test]
fn a_rate_is_shared_by_the_devices() {
    let step_ns = |devices, rate| plan::devices(devices, rate, 7).unwrap()[0].pace.step_ns;
    assert_eq!(step_ns(10, 20), 500_000_000);
    // Whole ms, so that times look as devices write them.
    assert_eq!(step_ns(1, 30), 33_000_000);
    assert_eq!(step_ns(1, 1_000_000), 1_000);
}

#[test]
fn a_wildcard_is_reached_by_loopback() {
    let reach = |text: &str| reachable(text.parse().unwrap()).to_string();
    assert_eq!(reach("0.0.0.0:8640"), "127.0.0.1:8640");
    assert_eq!(reach("[::]:8640"), "[::1]:8640");
    assert_eq!(reach("127.0.0.1:1883"), "127.0.0.1:1883");
}

#[test]
fn rates_look_back_a_few_readings() {
    let started = Instant::now();
    let mut rates = Rates::new(started);
    assert_eq!(rates.per_second(), (0.0, 0.0));
    for second in 1..=20 {
        let counts = Counts { sent: second * 100, acked: second * 50, refused: 0 };
        rates.take(started + Duration::from_secs(second), counts);
    }
    assert_eq!(rates.per_second(), (100.0, 50.0));
}
