//! Request bodies on disk: made once, sent many times, so that the generator is never what is
//! measured.

use std::{
    convert::Infallible,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};

use clap::ValueEnum as _;

use crate::workload::{
    Counts, UseCase, Workload,
    cpu::{FIELDS, each_row},
};

/// Line protocol in one file, and where in it each request body begins.
pub(crate) struct Bodies {
    /// The file of lines.
    pub(crate) path: PathBuf,
    /// What the lines hold.
    pub(crate) workload: Workload,
    /// How much that is.
    pub(crate) counts: Counts,
    batch_rows: u64,
    offsets: Vec<u64>,
}

/// One request body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body {
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// Its length.
    pub(crate) bytes: u64,
    /// Its lines.
    pub(crate) rows: u64,
}

impl Bodies {
    /// The bodies in `dir`, made now unless the same ones are already there.
    ///
    /// # Errors
    /// What the file system answers.
    pub(crate) fn prepare(dir: &Path, workload: Workload, batch_rows: u64) -> Result<Bodies> {
        match Bodies::open(dir) {
            Ok(found) if found.workload == workload && found.batch_rows == batch_rows => Ok(found),
            _ => Bodies::generate(dir, workload, batch_rows),
        }
    }

    /// The bodies that are already in `dir`.
    ///
    /// # Errors
    /// Nothing is there, or a file that this program did not write.
    pub(crate) fn open(dir: &Path) -> Result<Bodies> {
        let index = dir.join("bodies.index");
        let text = fs::read_to_string(&index)
            .with_context(|| format!("{}: make it with `generate`", index.display()))?;
        let mut words = text.split_whitespace();
        let mut next = || words.next().context("the index of the bodies is cut short");
        let use_case = UseCase::from_str(next()?, false).map_err(|error| anyhow!(error))?;
        let (hosts, hours, seed) = (next()?.parse()?, next()?.parse()?, next()?.parse()?);
        let workload = Workload { use_case, hosts, hours, seed };
        let batch_rows = next()?.parse()?;
        let (rows, keys, metrics) = (next()?.parse()?, next()?.parse()?, next()?.parse()?);
        let counts = Counts { rows, keys, metrics };
        let offsets: Vec<u64> = words.map(str::parse).collect::<Result<_, _>>()?;
        let path = dir.join("bodies.lp");
        if fs::metadata(&path)?.len() != *offsets.last().context("no bodies")? {
            bail!("{} is not as long as its index says", path.display());
        }
        Ok(Bodies { path, workload, counts, batch_rows, offsets })
    }

    /// How many request bodies there are.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The request body at a place below [`Bodies::len`].
    pub(crate) fn body(&self, place: usize) -> Body {
        let offset = self.offsets[place];
        let rest = self.counts.rows - place as u64 * self.batch_rows;
        Body { offset, bytes: self.offsets[place + 1] - offset, rows: rest.min(self.batch_rows) }
    }

    /// Bytes of all bodies.
    pub(crate) fn bytes(&self) -> u64 {
        self.offsets.last().copied().unwrap_or(0)
    }

    fn generate(dir: &Path, workload: Workload, batch_rows: u64) -> Result<Bodies> {
        fs::create_dir_all(dir)?;
        let path = dir.join("bodies.lp");
        let _ = fs::remove_file(dir.join("bodies.index"));
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        let (mut rows, mut written) = (0u64, 0u64);
        let mut offsets = vec![0];
        let counts = workload.each_line(|line| {
            file.write_all(line)?;
            rows += 1;
            written += line.len() as u64;
            if rows.is_multiple_of(batch_rows) {
                offsets.push(written);
            }
            anyhow::Ok(())
        })?;
        if !rows.is_multiple_of(batch_rows) {
            offsets.push(written);
        }
        file.into_inner()?.sync_all()?;
        let bodies = Bodies { path, workload, counts, batch_rows, offsets };
        bodies.write_index(dir)?;
        Ok(bodies)
    }

    fn write_index(&self, dir: &Path) -> Result<()> {
        let Workload { use_case, hosts, hours, seed } = self.workload;
        let Counts { rows, keys, metrics } = self.counts;
        let name = use_case.to_possible_value().context("a use case without a name")?;
        let mut text = format!("{} {hosts} {hours} {seed} {}", name.get_name(), self.batch_rows);
        text.push_str(&format!(" {rows} {keys} {metrics}\n"));
        for offset in &self.offsets {
            text.push_str(&format!("{offset}\n"));
        }
        fs::write(dir.join("bodies.index"), text)?;
        Ok(())
    }
}

/// Entropy of the first differences of the fields of cpu-only data, bytes a value.
pub(crate) fn entropy(workload: Workload) -> f64 {
    let mut differences = Differences::new(workload.hosts);
    let seen: Result<(), Infallible> = each_row(workload, |host, row| {
        differences.take(host, row.fields);
        Ok(())
    });
    match seen {
        Ok(()) => differences.entropy(),
        Err(never) => match never {},
    }
}

/// Counts how far each field moves from row to row.
struct Differences {
    last: Vec<Option<[u8; FIELDS.len()]>>,
    counts: [u64; 201],
}

impl Differences {
    fn new(hosts: usize) -> Differences {
        Differences { last: vec![None; hosts], counts: [0; 201] }
    }

    fn take(&mut self, host: usize, fields: [u8; FIELDS.len()]) {
        if let Some(last) = self.last[host].replace(fields) {
            for (now, before) in fields.iter().zip(last) {
                self.counts[100 + usize::from(*now) - usize::from(before)] += 1;
            }
        }
    }

    /// Shannon's entropy, bytes a value.
    fn entropy(&self) -> f64 {
        let all = self.counts.iter().sum::<u64>().max(1) as f64;
        let shares =
            self.counts.iter().filter(|count| **count > 0).map(|count| *count as f64 / all);
        shares.map(|share| -share * share.log2()).sum::<f64>() / 8.0
    }
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    #[test]
    fn bodies_cover_the_file_and_are_found_again() {
        let dir = env::temp_dir().join(format!("oribi-bench-bodies-{}", std::process::id()));
        let workload = Workload { use_case: UseCase::Iot, hosts: 7, hours: 2, seed: 3 };
        let made = Bodies::prepare(&dir, workload, 1000).unwrap();
        let found = Bodies::open(&dir).unwrap();
        assert_eq!(found.workload, workload);
        assert_eq!(found.len(), made.len());
        let text = fs::read(&found.path).unwrap();
        let mut rows = 0;
        for place in 0..found.len() {
            let body = found.body(place);
            let bytes = &text[body.offset as usize..(body.offset + body.bytes) as usize];
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            assert_eq!(lines, body.rows);
            rows += lines;
        }
        assert_eq!(rows, found.counts.rows);
        assert_eq!(found.counts, made.counts);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn steps_have_the_entropy_of_tsbs() {
        let workload = Workload { use_case: UseCase::Cpu, hosts: 20, hours: 24, seed: 1 };
        let entropy = entropy(workload);
        assert!((0.25..0.29).contains(&entropy), "{entropy}");
    }
}
