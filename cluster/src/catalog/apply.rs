//! Changes applied: from one catalog to the next, the same on every node.

use super::{Catalog, Change, ColumnSpec, Map, Reach};
use crate::{
    ClusterKeyId,
    planted::{Fault, is_planted},
};
use oribi_model::{
    Bucket, Column, ColumnId, ColumnKind, ColumnType, Ints, Name, NodeId, Schema, Table, TableId,
    TabletId, TabletSpec, TimeRange,
};
use std::sync::Arc;

/// Columns of one table, tags and fields together.
pub const COLUMNS_MAX: usize = 1_024;

impl Catalog {
    /// The catalog after `change`, or why it is refused.
    ///
    /// # Errors
    /// A text for the one who asked; the catalog stays as it was.
    pub(crate) fn apply(&self, change: &Change) -> Result<Catalog, String> {
        let mut next = self.clone();
        match change {
            Change::CreateDatabase { db } => next.databases.insert_mut(db.clone()),
            Change::DropDatabase { db } => {
                next.databases.remove_mut(db);
                let tables = self.index.by_name.get(db).into_iter().flat_map(Map::values);
                tables.for_each(|table| next.drop_table(*table));
            }
            Change::EnsureColumns { db, table, columns } => {
                next.ensure_columns(db, table, columns)?;
            }
            Change::SetOptions { table, options } => {
                let found = next.tables.get(table).ok_or("there is no such table")?;
                let changed = Table { options: options.clone(), ..Table::clone(found) };
                next.tables.insert_mut(*table, Arc::new(changed));
            }
            Change::DropTable { table } => next.drop_table(*table),
            Change::CreateTablets { table, ranges, buckets, away } => {
                let found = next.tables.get(table).ok_or("there is no such table")?;
                let wish = found.options.replicas();
                next.create_tablets(*table, ranges, *buckets, (wish, away));
            }
            Change::DropTablets { tablets } => next.drop_tablets(tablets),
            Change::RegisterNode { nonce, presence } => next.register(*nonce, presence)?,
            Change::AnnounceNode { node, presence } => next.announce(*node, presence)?,
            Change::SetNodeState { node, state } => next.set_state(*node, *state)?,
            Change::AssignReplicas { tablet, replicas } => next.assign(*tablet, replicas)?,
            Change::MoveReplicas { tablet, from, to } => next.move_replicas(*tablet, from, to)?,
            Change::ForgetReplica { tablet, member } => next.forget_replica(*tablet, *member),
            Change::SettleReplicas { tablet, members } => next.settle_replicas(*tablet, members),
            Change::TakeOver { node } => next.take_over(*node)?,
            Change::NoteAway { node } => next.note_reach(*node, Reach::Away)?,
            Change::NoteBack { node } => next.note_reach(*node, Reach::Heard)?,
            Change::SkipTablets { upto } => next.last_tablet = next.last_tablet.max(*upto),
            Change::PutConnector { name, spec } => {
                next.connectors.insert_mut(name.clone(), spec.clone());
                next.paused.remove_mut(name);
            }
            Change::DropConnector { name } => {
                next.connectors.remove_mut(name);
                next.cursors.remove_mut(name);
                next.paused.remove_mut(name);
                next.seats.remove_mut(name);
            }
            Change::PauseConnector { name } => next.paused.insert_mut(name.clone()),
            Change::ResumeConnector { name } => drop(next.paused.remove_mut(name)),
            Change::CreateTokens { tokens } => next.create_tokens(tokens)?,
            Change::ChangeToken { token } => next.change_token(token)?,
            Change::RevokeToken { name } => next.revoke_token(name),
            Change::NameClusterKey { id, instead_of } => next.name_key(*id, *instead_of)?,
            Change::SeatConnector { connector, node, after } => {
                next.seat_connector(connector, *node, *after)?;
            }
            Change::SaveCursors { connector, cursors, epoch } => {
                next.check_seat(connector, *epoch)?;
                let mut saved = next.cursors.get(connector).cloned().unwrap_or_default();
                cursors.iter().for_each(|(source, at)| saved.insert_mut(source.clone(), *at));
                next.cursors.insert_mut(connector.clone(), saved);
            }
        }
        Ok(next)
    }

    fn name_key(&mut self, id: ClusterKeyId, before: Option<ClusterKeyId>) -> Result<(), String> {
        if self.cluster_key != Some(id) && self.cluster_key != before {
            return Err("another cluster key was named meanwhile".into());
        }
        self.cluster_key = Some(id);
        Ok(())
    }

    fn drop_table(&mut self, table: TableId) {
        let Some(dropped) = self.tables.get(&table).cloned() else { return };
        self.tables.remove_mut(&table);
        self.last_columns.remove_mut(&table);
        for tablet in self.tablets_of(table).to_vec() {
            self.tablets.remove_mut(&tablet.id);
            self.unplace(tablet.id);
        }
        self.index.remove_table(&dropped);
    }

    fn drop_tablets(&mut self, tablets: &[TabletId]) {
        for id in tablets {
            let Some(tablet) = self.tablets.get(id).copied() else { continue };
            self.tablets.remove_mut(id);
            self.unplace(*id);
            self.index.change_tablets(tablet.table, |all| all.retain(|one| one.id != *id));
        }
    }

    fn ensure_columns(
        &mut self,
        db: &Name,
        name: &Name,
        columns: &[ColumnSpec],
    ) -> Result<(), String> {
        self.databases.insert_mut(db.clone());
        let table = match self.table(db, name).cloned() {
            Some(table) => table,
            None => {
                self.last_table = TableId(self.last_table.0 + 1);
                Arc::new(Table {
                    id: self.last_table,
                    db: db.clone(),
                    name: name.clone(),
                    schema: Schema::default(),
                    options: Default::default(),
                })
            }
        };
        let mut last = self.last_columns.get(&table.id).copied().unwrap_or_default();
        let mut schema = table.schema.clone();
        let mut changed = false;
        for wanted in columns {
            changed |= ensure_column(&mut schema, &mut last, wanted)?;
        }
        if schema.columns.len() > COLUMNS_MAX {
            return Err(format!("a table has at most {COLUMNS_MAX} columns"));
        }
        schema.version += u32::from(changed);
        self.last_columns.insert_mut(table.id, last);
        let table = Table { schema, ..Table::clone(&table) };
        self.index.add_table(&table);
        self.tables.insert_mut(table.id, Arc::new(table));
        Ok(())
    }

    fn create_tablets(
        &mut self,
        table: TableId,
        ranges: &[TimeRange],
        buckets: u32,
        (wish, away): (u8, &[NodeId]),
    ) {
        let mut tablets = self.tablets_of(table).to_vec();
        for range in ranges {
            let at = tablets.partition_point(|tablet| tablet.range.start < range.start);
            let before = at.checked_sub(1).map(|at| tablets[at]);
            let mut neighbours = before.iter().chain(tablets.get(at));
            let overlaps = neighbours.any(|tablet| tablet.range.overlaps(*range));
            let overlaps = overlaps && !is_planted(Fault::RangesOverlap);
            if range.is_empty() || overlaps {
                continue;
            }
            let made = (0..buckets).map(|index| {
                self.last_tablet = TabletId(self.last_tablet.0 + 1);
                let bucket = Bucket { index, count: buckets };
                TabletSpec { id: self.last_tablet, table, range: *range, bucket }
            });
            let made: Vec<TabletSpec> = made.collect();
            for spec in &made {
                self.tablets.insert_mut(spec.id, *spec);
                self.place(spec.id, wish, away);
            }
            tablets.splice(at..at, made);
        }
        self.index.change_tablets(table, |all| *all = tablets);
    }
}

/// Whether the schema had to change.
fn ensure_column(
    schema: &mut Schema,
    last: &mut ColumnId,
    wanted: &ColumnSpec,
) -> Result<bool, String> {
    let found = schema.columns.iter_mut().find(|column| column.name == wanted.name);
    if let Some(found) = found {
        if found.kind != wanted.kind {
            let kind = |kind| if kind == ColumnKind::Tag { "tag" } else { "field" };
            let (is, asked) = (kind(found.kind), kind(wanted.kind));
            return Err(format!("{:?} is a {is} and cannot be a {asked}", wanted.name.as_str()));
        }
        return Ok(match (found.column_type, wanted.column_type, found.ints) {
            (ColumnType::Int, ColumnType::Float, Ints::Exact) => {
                found.column_type = ColumnType::Float;
                true
            }
            (ColumnType::Int, ColumnType::Int, known) if known < wanted.ints => {
                found.ints = wanted.ints;
                true
            }
            _ => false,
        });
    }
    *last = ColumnId(last.0 + 1);
    let column_type = match wanted.kind {
        ColumnKind::Tag => ColumnType::Text,
        ColumnKind::Field => wanted.column_type,
    };
    let ColumnSpec { name, kind, ints, .. } = wanted.clone();
    schema.columns.push(Column { id: *last, name, kind, column_type, ints });
    Ok(true)
}
