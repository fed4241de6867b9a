//! Configuration of a schema registry.

use super::secret::{Secret, password, read_file};
use crate::{
    Error, Result,
    registry::{Credentials, RegistryOptions, SchemaRegistry},
};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc};

/// Where a registry with Confluent's interface is, and who asks it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrySpec {
    /// Its address, which may have a path: `http://registry:8080/apis/ccompat/v7`.
    pub url: String,
    /// User.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// File that holds the password instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// PEM file of the authorities to trust; absent: those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl RegistrySpec {
    /// A client, which has asked nothing yet. `key` is how the configuration calls the registry.
    ///
    /// # Errors
    /// [`Error::Config`] names the key and what was expected.
    pub(crate) fn open(&self, key: &str) -> Result<Arc<SchemaRegistry>> {
        let mut options = RegistryOptions::new(&self.url);
        if let Some(username) = self.username.clone() {
            let file = self.password_file.as_deref();
            let password = password(self.password.as_ref(), file, &format!("{key}.password_file"))?;
            let password = password.unwrap_or_default();
            options.credentials = Some(Credentials { username, password });
        }
        let ca = self.ca_file.as_ref();
        options.ca_pem = ca.map(|path| read_file(path, &format!("{key}.ca_file"))).transpose()?;
        let registry = SchemaRegistry::new(&options);
        registry.map(Arc::new).map_err(|reason| Error::config(format!("{key}.url"), reason))
    }
}
