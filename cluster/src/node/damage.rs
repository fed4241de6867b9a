//! What was found damaged or missing and would not be noticed again by looking: one small file,
//! kept until an operator has seen to it.

use crate::Result;
use oribi_model::TabletId;
use oribi_store::{
    disk::Disk,
    small_file::{self, Kind},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

const NAME: &str = "DAMAGE";
const KIND: Kind = Kind { magic: *b"ORIBIDMG", version: 1 };

/// The file's content: JSON.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    /// Tablets that lost entries, with the reason.
    tablets: BTreeMap<TabletId, String>,
    /// What happened to the log, if something did.
    log: Option<String>,
}

/// Damage that was noted down.
pub(crate) struct Damage {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    form: Form,
}

impl Damage {
    /// Reads the file of a data directory. One that cannot be read counts as damage of its own.
    ///
    /// # Errors
    /// [`oribi_store::Error::Io`] or [`oribi_store::Error::FutureFormat`].
    pub(crate) fn read(disk: Arc<dyn Disk>, dir: &Path) -> Result<Damage> {
        let form = match small_file::read(&*disk, dir, NAME, KIND) {
            Ok(None) => Form::default(),
            Ok(Some(body)) => serde_json::from_slice(&body).unwrap_or_else(|error| Form {
                log: Some(format!("{NAME} cannot be read: {error}")),
                ..Form::default()
            }),
            Err(error @ oribi_store::Error::Corrupt { .. }) => {
                Form { log: Some(error.to_string()), ..Form::default() }
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Damage { disk, dir: dir.to_owned(), form })
    }

    /// Why a tablet is set aside, if it is.
    pub(crate) fn of_tablet(&self, tablet: TabletId) -> Option<&str> {
        self.form.tablets.get(&tablet).map(String::as_str)
    }

    /// What happened to the log.
    pub(crate) fn of_log(&self) -> Option<&str> {
        self.form.log.as_deref()
    }

    /// Notes damage of the log and of the tablets that lost entries by it. Where that cannot be
    /// written, it counts for as long as the process runs.
    pub(crate) fn note(&mut self, log: String, tablets: BTreeMap<TabletId, String>) {
        self.form.log = Some(log);
        self.form.tablets.extend(tablets);
        if let Err(error) = self.write() {
            tracing::error!(%error, "cannot note damage down");
        }
    }

    /// Forgets what was noted of a tablet.
    ///
    /// # Errors
    /// [`oribi_store::Error::Io`].
    pub(crate) fn forget_tablet(&mut self, tablet: TabletId) -> Result<()> {
        if self.form.tablets.remove(&tablet).is_none() { Ok(()) } else { self.write() }
    }

    /// Forgets what was noted of the log.
    ///
    /// # Errors
    /// [`oribi_store::Error::Io`].
    pub(crate) fn forget_log(&mut self) -> Result<()> {
        if self.form.log.take().is_none() { Ok(()) } else { self.write() }
    }

    fn write(&self) -> Result<()> {
        let body = serde_json::to_vec(&self.form).expect("damage is plain data");
        Ok(small_file::replace(&*self.disk, &self.dir, NAME, KIND, &body)?)
    }
}
