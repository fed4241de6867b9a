//! Secrets of a connector, sealed where it is kept: each `{"sealed": "v1:…"}` in the place of its text.

use crate::connector::{Closed, Vault, is_secret};
use serde_json::{Map, Value, json};

const SEALED: &str = "sealed";
const PASSWORD: &str = "password";

/// A connector's JSON with all its secrets sealed. `None` where it has none.
///
/// # Errors
/// They cannot be sealed.
pub(crate) fn seal(name: &str, json: &str, vault: &dyn Vault) -> Result<Option<String>, String> {
    let mut members: Value = serde_json::from_str(json).map_err(|wrong| wrong.to_string())?;
    let mut has_any = false;
    for (member, value) in secrets(&mut members) {
        if let Value::String(secret) = &*value {
            *value = json!({ SEALED: vault.seal(&place(name, &member), secret)? });
            has_any = true;
        }
    }
    Ok(has_any.then(|| members.to_string()))
}

/// Whether a connector's JSON has secrets.
pub(crate) fn has_secrets(json: &str) -> bool {
    serde_json::from_str::<Value>(json)
        .is_ok_and(|mut members| secrets(&mut members).iter().any(|(_, value)| value.is_string()))
}

/// Opens all secrets of a connector in its JSON. Where one stays closed, it is empty.
///
/// # Errors
/// Why one stays closed.
pub(crate) fn open(name: &str, members: &mut Value, vault: &dyn Vault) -> Result<(), Closed> {
    let mut closed = None;
    for (member, value) in secrets(members) {
        let Some(sealed) = value.get(SEALED).and_then(Value::as_str) else { continue };
        let opened = vault.open(&place(name, &member), sealed);
        *value = Value::String(opened.unwrap_or_else(|why| {
            closed = Some(match why {
                Closed::Yet(why) => Closed::Yet(format!("{member}: {why}")),
                Closed::ForGood(why) => Closed::ForGood(format!("{member}: {why}")),
            });
            String::new()
        }));
    }
    closed.map_or(Ok(()), Err)
}

/// A sealed secret is for one member of one connector.
fn place(name: &str, member: &str) -> String {
    format!("connector {name} {member}")
}

/// The members that hold secrets, by their paths.
fn secrets(members: &mut Value) -> Vec<(String, &mut Value)> {
    let mut found = Vec::new();
    let Some(members) = members.as_object_mut() else { return found };
    for (name, value) in members {
        match (name.as_str(), value) {
            (PASSWORD, value) => found.push((PASSWORD.to_owned(), value)),
            ("registry", Value::Object(inner)) => {
                found.extend(of_section("registry", inner, |name| name == PASSWORD));
            }
            ("options", Value::Object(inner)) => {
                found.extend(of_section("options", inner, is_secret));
            }
            _ => {}
        }
    }
    found
}

fn of_section<'a>(
    section: &str,
    members: &'a mut Map<String, Value>,
    is_one: impl Fn(&str) -> bool,
) -> impl Iterator<Item = (String, &'a mut Value)> {
    let members = members.iter_mut().filter(move |(name, _)| is_one(name));
    members.map(move |(name, value)| (format!("{section}.{name}"), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Drawer;

    const JSON: &str = r#"{"name":"n","kind":"kafka","url":"kafka://h","password":"planted-1",
        "registry":{"url":"http://r","password":"planted-2"},
        "options":{"ssl.key.password":"planted-3","sasl.oauthbearer.client.secret":"planted-4",
        "sasl.oauthbearer.assertion.private.key.passphrase":"planted-5","group.id":"mine"}}"#;

    #[test]
    fn every_secret_is_sealed_for_its_connector_and_member() {
        let drawer = Drawer::default();
        let sealed = seal("n", JSON, &drawer).unwrap().unwrap();
        assert!(!sealed.contains("planted") && sealed.contains("mine"), "{sealed}");
        let mut opened: Value = serde_json::from_str(&sealed).unwrap();
        open("n", &mut opened, &drawer).unwrap();
        assert_eq!(opened, serde_json::from_str::<Value>(JSON).unwrap());
        // Under another name, or in the place of another member, it stays closed and is empty.
        let mut moved: Value = serde_json::from_str(&sealed).unwrap();
        assert!(matches!(open("m", &mut moved, &drawer), Err(Closed::ForGood(_))));
        assert_eq!(moved["password"], "");
        let mut swapped: Value = serde_json::from_str(&sealed).unwrap();
        swapped["password"] = swapped["registry"]["password"].clone();
        let why = open("n", &mut swapped, &drawer).unwrap_err();
        assert!(matches!(&why, Closed::ForGood(why) if why.starts_with("password: ")), "{why:?}");
    }

    #[test]
    fn a_connector_without_secrets_stays_as_it_is() {
        let json = r#"{"name":"n","password":null,"options":{"group.id":"mine"},"registry":{}}"#;
        assert_eq!(seal("n", json, &Drawer::default()), Ok(None));
        assert!(!has_secrets(json) && !has_secrets("[]") && !has_secrets("{") && has_secrets(JSON));
    }
}
