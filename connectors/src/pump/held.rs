//! Messages of a batch that wait for tables or time ranges, apart from all the others of it.

use super::batch::Batch;
use oribi_model::Points;
use std::{collections::HashMap, sync::Arc};

/// What one held message takes beside its bytes.
const MESSAGE_BYTES: usize = 256;

/// Messages of one client in one batch whose rows wait, or come after some that do.
pub(crate) struct Held {
    pub(crate) client: Arc<str>,
    /// Without rows.
    pub(super) messages: Batch,
    pub(super) points: Vec<Points>,
    bytes: usize,
}

impl Held {
    /// Messages that hold so many bytes, of which there are none.
    #[cfg(test)]
    pub(crate) fn of(client: &str, number: u64, bytes: usize) -> Held {
        let (client, points) = (client.into(), Vec::new());
        Held { client, messages: Batch::new(number), points, bytes }
    }

    /// The number of the batch.
    pub(crate) fn number(&self) -> u64 {
        self.messages.number()
    }

    /// Number of messages.
    pub(crate) fn messages(&self) -> usize {
        self.messages.messages()
    }

    /// Memory held when the messages came to wait, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Takes the rows of clients that wait out of `points`.
pub(super) fn split(
    batch: &Batch,
    points: Vec<Points>,
    waits: &impl Fn(&Arc<str>) -> bool,
) -> (Vec<Points>, Vec<Points>) {
    let are_held = batch.messages_by(waits);
    if are_held.is_empty() {
        return (points, Vec::new());
    }
    let (mut going, mut waiting) = (Vec::with_capacity(points.len()), Vec::new());
    for one in points {
        let is_held =
            |row: &u32| batch.message_of(one.origins[*row as usize]).is_some_and(|at| are_held[at]);
        let (held, free): (Vec<u32>, Vec<u32>) = (0..one.rows() as u32).partition(is_held);
        if held.is_empty() {
            going.push(one);
        } else if free.is_empty() {
            waiting.push(one);
        } else {
            going.push(one.take(free));
            waiting.push(one.take(held));
        }
    }
    (going, waiting)
}

/// Sorts rows that wait by their clients.
pub(super) fn by_client(batch: &Batch, waiting: Vec<Points>) -> Vec<Held> {
    let nobody: Arc<str> = "".into();
    let mut by_client: HashMap<Arc<str>, Vec<Points>> = HashMap::new();
    for one in waiting {
        let mut rows: HashMap<&Arc<str>, Vec<u32>> = HashMap::new();
        for (row, origin) in one.origins.iter().enumerate() {
            let client = batch.client_of(*origin).unwrap_or(&nobody);
            rows.entry(client).or_default().push(row as u32);
        }
        if rows.len() == 1 {
            let client = rows.into_keys().next().unwrap_or(&nobody).clone();
            by_client.entry(client).or_default().push(one);
            continue;
        }
        for (client, rows) in rows {
            by_client.entry(client.clone()).or_default().push(one.take(rows));
        }
    }
    let held = by_client.into_iter().map(|(client, points)| {
        let messages = batch.messages_of(&points);
        let bytes = points.iter().map(Points::bytes_held).sum::<usize>()
            + points.len() * size_of::<Points>()
            + messages.bytes()
            + messages.messages() * MESSAGE_BYTES;
        Held { client, messages, points, bytes }
    });
    held.collect()
}

/// Rows of tables that are not Oribi's own.
pub(super) fn rows_of_users(points: &[Points]) -> u64 {
    let of_users = points.iter().filter(|points| !points.table.is_system());
    of_users.map(|points| points.rows() as u64).sum()
}
