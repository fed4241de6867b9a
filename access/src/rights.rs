//! What a token may do.

use crate::{Glob, topics::check_filter};
use serde::{Deserialize, Serialize};

/// Grants of a token.
pub const GRANTS_MAX: usize = 32;
/// Topic filters of a token.
pub const TOPICS_MAX: usize = 32;
/// Patterns of client ids of a token.
pub const CLIENTS_MAX: usize = 8;

/// What may be done with tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum May {
    /// Ask.
    Read,
    /// Store rows; tables, columns and the database come into being with them.
    Write,
    /// Make, alter and drop, delete rows, and the two others.
    Admin,
}

impl May {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            May::Read => "read",
            May::Write => "write",
            May::Admin => "admin",
        }
    }

    fn includes(self, asked: May) -> bool {
        self == asked || self == May::Admin
    }
}

/// One right, on all tables whose names fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What may be done.
    pub may: May,
    /// In which databases.
    pub db: Glob,
    /// With which of their tables.
    pub table: Glob,
}

/// All that a token may do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rights {
    /// With tables.
    pub grants: Vec<Grant>,
    /// Figures, and what keeps a node running.
    pub ops: bool,
    /// Everything.
    pub all: bool,
    /// Filters of the topics that may be published to; empty: all.
    pub topics: Vec<String>,
    /// Patterns of client ids; empty: all.
    pub clients: Vec<Glob>,
    /// Pattern of the identities in certificates for which the token stands, of MQTT clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Glob>,
}

impl Rights {
    /// Everything.
    pub fn everything() -> Rights {
        Rights { all: true, ..Rights::default() }
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// Names the member and what was expected.
    pub fn check(&self) -> Result<(), String> {
        let bounds = [
            ("grants", self.grants.len(), GRANTS_MAX),
            ("topics", self.topics.len(), TOPICS_MAX),
            ("clients", self.clients.len(), CLIENTS_MAX),
        ];
        for (member, count, most) in bounds {
            if count > most {
                return Err(format!("{member} holds {count}; expected at most {most}"));
            }
        }
        self.topics.iter().try_for_each(|filter| check_filter(filter))
    }

    /// Whether this may be done with a table. Whether there is one does not matter.
    pub fn may(&self, asked: May, db: &str, table: &str) -> bool {
        let fits = |grant: &Grant| {
            grant.may.includes(asked) && grant.db.fits_name(db) && grant.table.fits_name(table)
        };
        self.all || self.grants.iter().any(fits)
    }

    /// Whether this may be done with a database as a whole.
    pub fn may_all(&self, asked: May, db: &str) -> bool {
        let fits = |grant: &Grant| {
            grant.may.includes(asked) && grant.db.fits_name(db) && grant.table.is_any()
        };
        self.all || self.grants.iter().any(fits)
    }

    /// Whether anything may be done with some table of a database.
    pub fn reaches(&self, db: &str) -> bool {
        self.all || self.grants.iter().any(|grant| grant.db.fits_name(db))
    }

    /// Whether rows may be stored in some table of a database; of any where it is `None`.
    pub fn may_write_in(&self, db: Option<&str>) -> bool {
        let fits = |grant: &Grant| {
            grant.may.includes(May::Write) && db.is_none_or(|db| grant.db.fits_name(db))
        };
        self.all || self.grants.iter().any(fits)
    }

    /// Whether what keeps a node running may be asked for.
    pub fn may_ops(&self) -> bool {
        self.all || self.ops
    }
}

#[cfg(test)]
pub(crate) fn grant(may: May, db: &str, table: &str) -> Grant {
    let glob = |text| Glob::new(text).unwrap();
    Grant { may, db: glob(db), table: glob(table) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(may: May, db: &str, table: &str) -> Rights {
        Rights { grants: vec![grant(may, db, table)], ..Rights::default() }
    }

    #[test]
    fn a_right_holds_for_what_it_names_alone() {
        let writes = rights(May::Write, "default", "sensors");
        assert!(writes.may(May::Write, "default", "sensors"));
        for (may, db, table) in [
            (May::Read, "default", "sensors"),
            (May::Admin, "default", "sensors"),
            (May::Write, "default", "sensors2"),
            (May::Write, "plant", "sensors"),
        ] {
            assert!(!writes.may(may, db, table));
        }
        assert!(writes.reaches("default") && !writes.reaches("plant"));
        assert!(writes.may_write_in(Some("default")) && writes.may_write_in(None));
        assert!(!writes.may_write_in(Some("plant")) && !writes.may_all(May::Write, "default"));
        let reads = rights(May::Read, "*", "*");
        assert!(!reads.may_write_in(None) && reads.may_all(May::Read, "x"));
        assert!(!reads.may(May::Read, "default", "_dead_letters") && !reads.may_ops());
        let admin = rights(May::Admin, "default", "*");
        assert!(
            [May::Read, May::Write, May::Admin].iter().all(|may| admin.may(*may, "default", "x"))
        );
        assert!(admin.may_all(May::Admin, "default") && !admin.may_all(May::Admin, "plant"));
        let all = Rights::everything();
        assert!(all.may(May::Admin, "x", "_dead_letters") && all.may_ops());
        assert!(!Rights::default().may(May::Read, "default", "x"));
    }

    #[test]
    fn numbers_and_filters_are_checked() {
        assert!(rights(May::Read, "*", "*").check().is_ok());
        let many = Rights { grants: vec![grant(May::Read, "a", "b"); 33], ..Rights::default() };
        assert!(many.check().unwrap_err().contains("grants"));
        let filter = Rights { topics: vec!["a/#/b".into()], ..Rights::default() };
        assert!(filter.check().is_err());
    }
}
