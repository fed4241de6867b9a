//! Which devices there are, what they replay, and how fast.

use super::{
    device::{Device, now_ns},
    recordings,
    replay::Pace,
};
use anyhow::Result;
use std::sync::Arc;

const NS_PER_S: i64 = 1_000_000_000;
const HISTORY_S: i64 = 28 * 86_400;
/// So much of the history has rows as dense as those of now.
const RECENT_S: i64 = 2 * 3_600;
/// Copies of a device begin at another place of the recording.
const COPY_SHIFT_S: i64 = 37 * 3_600;

/// So many devices with a history, sending so many rows a second together.
///
/// # Errors
/// Recordings that cannot be read.
pub(super) fn devices(number: u32, rate: u32, run: i64) -> Result<Vec<Device>> {
    let number = number as usize;
    let recordings: Vec<_> = recordings::shipped(number)?.into_iter().map(Arc::new).collect();
    let now_ns = now_ns();
    let step_ns = round(number as i64 * NS_PER_S / i64::from(rate));
    let pace = |place: usize, copy: usize| Pace {
        history_from_ns: now_ns - HISTORY_S * NS_PER_S,
        recent_from_ns: (now_ns / NS_PER_S - RECENT_S) * NS_PER_S,
        now_ns,
        recent_step_ns: NS_PER_S,
        step_ns,
        phase_ns: round(step_ns.min(NS_PER_S) * place as i64 / number as i64),
        shift_s: COPY_SHIFT_S * copy as i64,
    };
    let device = |place: usize| {
        let recording = &recordings[place % recordings.len()];
        let copy = place / recordings.len();
        let name = match copy {
            0 => recording.device.to_owned(),
            copy => format!("{}-{}", recording.device, copy + 1),
        };
        Device {
            site: recording.site,
            name,
            recording: recording.clone(),
            pace: pace(place, copy),
            run,
        }
    };
    Ok((0..number).map(device).collect())
}

/// Whole ms, as devices count them, where that is fine enough.
fn round(ns: i64) -> i64 {
    const NS_PER_MS: i64 = 1_000_000;
    const COARSE_NS: i64 = 10 * NS_PER_MS;
    if ns >= COARSE_NS { ns - ns % NS_PER_MS } else { ns.max(1) }
}

/// The same devices from now on, without history.
///
/// # Errors
/// As [`devices`].
pub(super) fn live(number: u32, rate: u32) -> Result<Vec<Device>> {
    let mut devices = devices(number, rate, 0)?;
    for Device { pace, .. } in &mut devices {
        pace.history_from_ns = pace.now_ns;
        pace.recent_from_ns = pace.now_ns - pace.now_ns % NS_PER_S;
    }
    Ok(devices)
}
