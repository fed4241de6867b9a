//! What a server process costs, read from `/proc`.

use std::fs;

use anyhow::{Context, Result};

/// Clock ticks a second in `/proc/PID/stat`: 100 on every Linux for x86-64 and arm64.
const TICKS_PER_S: f64 = 100.0;

/// A process that is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    id: u32,
}

impl Process {
    /// The process of an id.
    pub(crate) fn new(id: u32) -> Process {
        Process { id }
    }

    /// CPU time used so far by all its threads, s.
    ///
    /// # Errors
    /// The process is gone, or `/proc` is not readable.
    pub(crate) fn cpu_s(self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.id);
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        // The program's name is in brackets and may hold blanks: fields are counted after it.
        let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |place: usize| -> Result<f64> {
            let field = fields.get(place).with_context(|| format!("{path} is cut short"))?;
            Ok(field.parse::<u64>()? as f64)
        };
        Ok((ticks(11)? + ticks(12)?) / TICKS_PER_S)
    }

    /// The most resident memory it ever had, bytes.
    ///
    /// # Errors
    /// As [`Process::cpu_s`].
    pub(crate) fn rss_peak_bytes(self) -> Result<u64> {
        Ok(self.number("status", "VmHWM:")? * 1024)
    }

    /// The resident memory it has now, bytes.
    ///
    /// # Errors
    /// As [`Process::cpu_s`].
    pub(crate) fn rss_bytes(self) -> Result<u64> {
        Ok(self.number("status", "VmRSS:")? * 1024)
    }

    /// What it gave to write calls so far, bytes. What it writes through mapped memory is not seen;
    /// the kernel's own count of written bytes takes a whole folio for each page in it.
    ///
    /// # Errors
    /// As [`Process::cpu_s`].
    pub(crate) fn written_bytes(self) -> Result<u64> {
        self.number("io", "wchar:")
    }

    /// The number after a name at the start of a line.
    fn number(self, file: &str, name: &str) -> Result<u64> {
        let path = format!("/proc/{}/{file}", self.id);
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        let rest = text.lines().find_map(|line| line.strip_prefix(name));
        let word = rest.and_then(|rest| rest.split_whitespace().next());
        Ok(word.with_context(|| format!("{path} has no {name}"))?.parse()?)
    }
}

/// How many processes wanted to run over the last minute.
///
/// # Errors
/// `/proc` is not readable.
pub(crate) fn load_average() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().context("/proc/loadavg is empty")?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_used_time() {
        let process = Process::new(std::process::id());
        assert!(process.rss_peak_bytes().unwrap() > 100 << 10);
        assert!(process.rss_bytes().unwrap() > 100 << 10);
        assert!(process.written_bytes().is_ok());
        assert!(process.cpu_s().unwrap() >= 0.0);
        assert!(load_average().unwrap() >= 0.0);
    }
}
