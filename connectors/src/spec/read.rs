//! Reading a connector: its own members by its kind, and which kind has those that it has not.

use super::{
    ConnectorSpec, KindSpec,
    kinds::{members, typed},
};
use crate::connector::{Common, members_of};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::{Map, Value};
use std::{fmt, sync::LazyLock};

const KIND: &str = "kind";

/// The members of all kinds, each once.
static MEMBERS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut all = vec![KIND];
    all.extend(members_of::<Common>());
    for member in members().into_iter().flat_map(|(_, own)| own) {
        if !all.contains(member) {
            all.push(member);
        }
    }
    all
});

impl<'de> Deserialize<'de> for ConnectorSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ConnectorSpec, D::Error> {
        deserializer.deserialize_struct("ConnectorSpec", &MEMBERS, Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = ConnectorSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a connector")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ConnectorSpec, A::Error> {
        let mut found = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if !MEMBERS.contains(&&*name) {
                return Err(A::Error::unknown_field(&name, &MEMBERS));
            }
            let value = map.next_value::<Value>()?;
            if found.insert(name.clone(), value).is_some() {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
        }
        spec(found).map_err(A::Error::custom)
    }
}

fn spec(mut members: Map<String, Value>) -> Result<ConnectorSpec, String> {
    let kind = match members.remove(KIND) {
        Some(Value::String(kind)) => kind,
        Some(other) => return Err(format!("kind: expected a text, found {other}")),
        None => return Err("missing field `kind`".into()),
    };
    // What is null is not given, whatever the kind.
    members.retain(|_, value| !value.is_null());
    let of_all = members_of::<Common>();
    let (common, own): (Map<_, _>, Map<_, _>) =
        members.into_iter().partition(|(name, _)| of_all.contains(&&**name));
    check_own(&kind, &own)?;
    let kind = KindSpec::read(&kind, own).unwrap_or_else(|| Err(unknown(&kind)))?;
    Ok(ConnectorSpec { common: typed(common)?, kind })
}

fn unknown(kind: &str) -> String {
    let names: Vec<&str> = members().iter().map(|(name, _)| *name).collect();
    format!("kind: {kind:?} is none; expected {}", names.join(", "))
}

/// Refuses a member that other kinds have and this one has not.
fn check_own(kind: &str, own: &Map<String, Value>) -> Result<(), String> {
    let kinds = members();
    let Some((kind, known)) = kinds.iter().find(|(name, _)| *name == kind) else {
        return Err(unknown(kind));
    };
    let Some(member) = own.keys().find(|name| !known.contains(&name.as_str())) else {
        return Ok(());
    };
    let others = kinds.iter().filter(|(_, theirs)| theirs.contains(&member.as_str()));
    let others: Vec<&str> = others.map(|(name, _)| *name).collect();
    Err(format!("{member}: {kind} has none; it belongs to {}", others.join(" and ")))
}
