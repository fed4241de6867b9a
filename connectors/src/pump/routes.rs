//! Routes with what they need from outside: the files of schemas, and a registry.

use crate::{Result, registry::SchemaRegistry};
use oribi_decode::{
    FileError, RouteSpec, Routes, SchemaFiles,
    mapping::{SchemaPlaces, SchemasById, TopicStyle},
};
use std::{fs::File, io, io::Read, path::Path, sync::Arc};

/// The routes of a source, and who is asked for schemas.
#[derive(Clone)]
pub(crate) struct CompiledRoutes {
    pub(super) routes: Arc<Routes>,
    pub(super) registry: Option<Arc<SchemaRegistry>>,
}

impl CompiledRoutes {
    /// Compiles routes; `key` is how the configuration calls their list.
    ///
    /// # Errors
    /// [`crate::Error::Config`] names the key and what was expected.
    pub(crate) fn new(
        specs: &[RouteSpec],
        style: TopicStyle,
        registry: Option<Arc<SchemaRegistry>>,
        key: &str,
    ) -> Result<CompiledRoutes> {
        let by_id = registry.clone().map(|registry| registry as Arc<dyn SchemasById>);
        let places = SchemaPlaces { files: Arc::new(Disk), registry: by_id };
        let routes = Arc::new(Routes::new(specs, style, &places, key)?);
        Ok(CompiledRoutes { routes, registry })
    }
}

/// The machine's files.
struct Disk;

impl SchemaFiles for Disk {
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, FileError> {
        let failed = |wrong: io::Error| match wrong.kind() {
            io::ErrorKind::NotFound => FileError::Missing(wrong.to_string()),
            _ => FileError::Unreadable(wrong.to_string()),
        };
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut bytes = Vec::new();
        file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        match bytes.len() as u64 > bytes_max {
            true => Err(FileError::TooLong(length.max(bytes.len() as u64))),
            false => Ok(bytes),
        }
    }
}
