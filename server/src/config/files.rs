//! Files and sockets of the process, shared out among those who open many.

use super::Config;

/// Kept for the log, other nodes, brokers and what else comes in small numbers.
const KEPT_MAX: u64 = 1_024;
/// Connections that HTTP and MQTT have at least.
const CONNECTIONS_MIN: usize = 16;

impl Config {
    /// Lowers the bounds of connections and of segments kept open, so that all of them together
    /// need no more files than the process may open: past that the store could not open its own.
    /// Gives what was lowered, for people.
    pub(crate) fn fit_files(&mut self, files_max: u64) -> Option<String> {
        let (http, mqtt) = (self.http.connections_max as u64, self.mqtt.connections_max as u64);
        let segments = self.storage.open_files_max as u64;
        let left = files_max - (files_max / 4).min(KEPT_MAX);
        if http.saturating_add(mqtt).saturating_add(segments) <= left {
            return None;
        }
        let segments = segments.min(left / 4);
        let sockets = left - segments;
        let part = |of: u64| {
            let part = u128::from(sockets) * u128::from(of) / u128::from((http + mqtt).max(1));
            (part as usize).max(CONNECTIONS_MIN).min(of as usize)
        };
        self.storage.open_files_max = (segments as usize).max(16);
        self.http.connections_max = part(http);
        self.mqtt.connections_max = part(mqtt);
        Some(format!(
            "the process may open {files_max} files at once: http.connections_max is {}, \
             mqtt.connections_max {}, storage.open_files_max {}",
            self.http.connections_max, self.mqtt.connections_max, self.storage.open_files_max,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_opened_is_enough_for_all_bounds() {
        let mut plenty = Config::default();
        assert_eq!(plenty.fit_files(65_536), None);
        assert_eq!(plenty.mqtt.connections_max, 10_000);
        for files_max in [256, 1_024, 4_096, 12_000] {
            let mut config = Config::default();
            let told = config.fit_files(files_max).unwrap();
            let (http, mqtt) = (config.http.connections_max, config.mqtt.connections_max);
            let segments = config.storage.open_files_max;
            assert!(((http + mqtt + segments) as u64) < files_max, "{told}");
            assert!(http >= CONNECTIONS_MIN && mqtt > http && segments >= 16, "{told}");
            assert!(told.contains(&format!("mqtt.connections_max {mqtt},")), "{told}");
        }
    }
}
