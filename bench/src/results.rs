//! The results of a run: lines of step, system, name and value in one file, appended as they are
//! measured, so that parts of a run can be made one by one.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
};

use anyhow::{Context, Result};

/// Measured values by step, name and system.
#[derive(Debug, Default)]
pub(crate) struct Results {
    values: BTreeMap<(String, String), BTreeMap<String, String>>,
}

impl Results {
    /// Reads a file of results; of two values for one thing the later one stands.
    ///
    /// # Errors
    /// The file is not there, or a line has not four columns.
    pub(crate) fn read(path: &Path) -> Result<Results> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut results = Results::default();
        for line in text.lines() {
            let columns: Vec<&str> = line.split('\t').collect();
            let [step, system, name, value] = columns[..] else {
                anyhow::bail!("expected four columns: `{line}`");
            };
            results.add(step, system, name, value);
        }
        Ok(results)
    }

    /// The value of a system, if it was measured.
    pub(crate) fn text(&self, step: &str, system: &str, name: &str) -> Option<&str> {
        let key = (step.to_owned(), name.to_owned());
        self.values.get(&key)?.get(system).map(String::as_str)
    }

    /// The same as a number.
    pub(crate) fn number(&self, step: &str, system: &str, name: &str) -> Option<f64> {
        self.text(step, system, name)?.parse().ok()
    }

    /// All steps and names, each with its values by system.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str, &BTreeMap<String, String>)> {
        self.values.iter().map(|((step, name), values)| (step.as_str(), name.as_str(), values))
    }

    fn add(&mut self, step: &str, system: &str, name: &str, value: &str) {
        let values = self.values.entry((step.to_owned(), name.to_owned())).or_default();
        values.insert(system.to_owned(), value.to_owned());
    }
}

/// Where a measurement goes: one step of one system.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Sink {
    /// File to which results are appended.
    #[arg(long, value_name = "FILE")]
    results: Option<std::path::PathBuf>,
    /// Name of the system measured, as it stands in the report.
    #[arg(long, default_value = "server")]
    pub(crate) system: String,
    /// Name of the step, as it stands in the report.
    #[arg(long, default_value = "step")]
    step: String,
}

impl Sink {
    /// The same system at another step.
    pub(crate) fn at(&self, step: &str) -> Sink {
        Sink { step: step.to_owned(), ..self.clone() }
    }

    /// Appends values, each with its name.
    ///
    /// # Errors
    /// What the file system answers.
    pub(crate) fn put(&self, values: &[(&str, String)]) -> Result<()> {
        let Some(path) = &self.results else { return Ok(()) };
        let mut text = String::new();
        for (name, value) in values {
            text.push_str(&format!("{}\t{}\t{name}\t{value}\n", self.step, self.system));
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(text.as_bytes())?;
        Ok(())
    }
}
