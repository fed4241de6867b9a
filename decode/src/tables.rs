//! Rows of several tables under construction.

use super::{
    CELLS_MAX, Fault, TABLES_MAX,
    points::{CellBudget, PointsBuilder},
};
use hashbrown::HashMap;
use oribi_model::{Name, Points, RejectReason};
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

/// Rows of several tables.
#[derive(Debug)]
pub struct Tables {
    builders: Vec<PointsBuilder>,
    /// Databases, of which there are few, with their tables.
    databases: Vec<(Name, HashMap<Name, usize, Xxh3DefaultBuilder>)>,
    cells: CellBudget,
}

impl Tables {
    /// No rows yet.
    pub fn new() -> Tables {
        Tables { builders: Vec::new(), databases: Vec::new(), cells: CellBudget::default() }
    }

    /// The place of a user's table, made where it is new.
    ///
    /// # Errors
    /// A name that cannot be a table; more tables than a batch may have.
    pub fn table_in(&mut self, db: &Name, name: &str) -> Result<usize, Fault> {
        let place = match self.databases.iter().position(|(known, _)| known == db) {
            Some(place) => place,
            None => {
                self.databases.push((db.clone(), HashMap::default()));
                self.databases.len() - 1
            }
        };
        let tables = &mut self.databases[place].1;
        if let Some(at) = tables.get(name) {
            return Ok(*at);
        }
        if self.builders.len() >= TABLES_MAX {
            let detail = format!("more than {TABLES_MAX} tables in one batch; send smaller ones");
            return Err(Fault::new(RejectReason::Limit, detail));
        }
        let name = Name::user_table(name)
            .map_err(|wrong| Fault::new(RejectReason::Name, wrong.to_string()))?;
        self.builders.push(PointsBuilder::within(&self.cells, db.clone(), name.clone()));
        tables.insert(name, self.builders.len() - 1);
        Ok(self.builders.len() - 1)
    }

    /// The builder at a place that [`Tables::table_in`] gave.
    #[inline]
    pub fn at(&mut self, place: usize) -> &mut PointsBuilder {
        &mut self.builders[place]
    }

    /// Number of finished rows.
    pub fn rows(&self) -> usize {
        self.builders.iter().map(PointsBuilder::rows).sum()
    }

    /// Databases and tables of the rows that have this origin or a later one.
    pub fn since(&self, origin: u32) -> impl Iterator<Item = (&Name, &Name)> {
        let has_one = move |builder: &&PointsBuilder| {
            builder.last_origin().is_some_and(|last| last >= origin)
        };
        self.builders.iter().filter(has_one).map(PointsBuilder::names)
    }

    /// Bytes held, roughly.
    pub fn bytes(&self) -> usize {
        self.builders.iter().map(PointsBuilder::bytes).sum()
    }

    /// Whether so many cells or tables are taken that further messages belong into another batch.
    #[inline]
    pub fn hold_enough(&self) -> bool {
        self.cells.taken() > CELLS_MAX / 2 || self.builders.len() > TABLES_MAX / 2
    }

    /// The rows of tables that have some.
    pub fn finish(self) -> Vec<Points> {
        let with_rows = self.builders.into_iter().filter(|builder| builder.rows() > 0);
        with_rows.map(PointsBuilder::finish).collect()
    }
}

impl Default for Tables {
    fn default() -> Tables {
        Tables::new()
    }
}
