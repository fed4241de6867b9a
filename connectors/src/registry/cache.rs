//! Schemas that were fetched, by id. An id never changes its schema.

use super::RegistryError;
use oribi_decode::confluent::Schema;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Most schemas that are kept.
pub(super) const SCHEMAS_MAX: usize = 1_000;
/// Most bytes that their texts have together.
const BYTES_MAX: usize = 16 << 20;
/// Most ids that are known to name nothing.
const MISSING_MAX: usize = 1_000;
/// How long an id that named nothing is not asked for again.
const MISSING_FOR: Duration = Duration::from_secs(10);

/// Schemas by id, those used last, within bounds.
#[derive(Debug, Default)]
pub(super) struct SchemaCache {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    schemas: HashMap<u32, Entry>,
    bytes: usize,
    turn: u64,
    missing: HashMap<u32, (Instant, RegistryError)>,
}

#[derive(Debug)]
struct Entry {
    schema: Arc<Schema>,
    bytes: usize,
    used: u64,
}

impl SchemaCache {
    /// The schema of this id, if it is at hand.
    pub(super) fn get(&self, id: u32) -> Option<Arc<Schema>> {
        let state = &mut *self.state.lock();
        state.turn += 1;
        let entry = state.schemas.get_mut(&id)?;
        entry.used = state.turn;
        Some(entry.schema.clone())
    }

    /// Keeps a schema whose text has so many bytes, and forgets others for it if it must.
    pub(super) fn put(&self, id: u32, schema: Arc<Schema>, bytes: usize) {
        let state = &mut *self.state.lock();
        state.turn += 1;
        let entry = Entry { schema, bytes, used: state.turn };
        state.bytes += bytes;
        state.missing.remove(&id);
        if let Some(old) = state.schemas.insert(id, entry) {
            state.bytes -= old.bytes;
        }
        while state.schemas.len() > SCHEMAS_MAX
            || (state.bytes > BYTES_MAX && state.schemas.len() > 1)
        {
            let oldest = state.schemas.iter().min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(id, _)| *id) else { break };
            if let Some(entry) = state.schemas.remove(&oldest) {
                state.bytes -= entry.bytes;
            }
        }
    }

    /// Why this id named nothing that can be used a short while ago.
    pub(super) fn missing(&self, id: u32) -> Option<RegistryError> {
        let state = self.state.lock();
        let (since, why) = state.missing.get(&id)?;
        (since.elapsed() < MISSING_FOR).then(|| why.clone())
    }

    /// Remembers why this id names nothing that can be used.
    pub(super) fn miss(&self, id: u32, why: RegistryError) {
        let missing = &mut self.state.lock().missing;
        if missing.len() >= MISSING_MAX {
            missing.retain(|_, (since, _)| since.elapsed() < MISSING_FOR);
        }
        if missing.len() < MISSING_MAX {
            missing.insert(id, (Instant::now(), why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_used_last_stay() {
        let cache = SchemaCache::default();
        for id in 0..SCHEMAS_MAX as u32 {
            cache.put(id, Arc::new(Schema::Json), 10);
        }
        assert!(cache.get(0).is_some());
        cache.put(5_000, Arc::new(Schema::Json), 10);
        assert!(cache.get(0).is_some() && cache.get(5_000).is_some() && cache.get(1).is_none());
        assert_eq!(cache.state.lock().bytes, SCHEMAS_MAX * 10);
        cache.put(6_000, Arc::new(Schema::Json), BYTES_MAX);
        assert!(cache.get(6_000).is_some() && cache.get(0).is_none());
        assert_eq!(cache.state.lock().bytes, BYTES_MAX);
    }

    #[test]
    fn ids_of_nothing_are_bounded() {
        let cache = SchemaCache::default();
        for id in 0..2 * MISSING_MAX as u32 {
            cache.miss(id, RegistryError::NotFound("schema".into()));
        }
        assert!(cache.missing(0).is_some());
        assert_eq!(cache.state.lock().missing.len(), MISSING_MAX);
        cache.put(0, Arc::new(Schema::Json), 1);
        assert!(cache.missing(0).is_none());
    }
}
