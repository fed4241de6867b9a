//! Rights as flags, and as text.

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// What a token may do.
#[derive(Debug, Default, Args)]
pub(super) struct RightArgs {
    /// Tables that may be asked, as DB/TABLE; both may hold stars.
    #[arg(long, value_name = "DB/TABLE")]
    pub(super) read: Vec<String>,
    /// Tables that may be written to.
    #[arg(long, value_name = "DB/TABLE")]
    pub(super) write: Vec<String>,
    /// Tables that may be made, altered, dropped, and whose rows may be deleted.
    #[arg(long, value_name = "DB/TABLE")]
    pub(super) admin: Vec<String>,
    /// Figures, and what keeps a node running.
    #[arg(long)]
    pub(super) ops: bool,
    /// Everything.
    #[arg(long)]
    pub(super) all: bool,
    /// Topics that may be published to; %u is the token's name, %c the client's id.
    #[arg(long, value_name = "FILTER")]
    pub(super) topic: Vec<String>,
    /// Client ids that may connect; %u is the token's name.
    #[arg(long, value_name = "PATTERN")]
    pub(super) client: Vec<String>,
    /// Identities in certificates that it stands for; %u is the one that is shown.
    #[arg(long, value_name = "GLOB")]
    pub(super) certificate: Option<String>,
    /// When it ends: a length such as 90d, or a moment.
    #[arg(long, value_name = "TIME")]
    pub(super) expires: Option<String>,
    /// For people.
    #[arg(long, value_name = "TEXT")]
    pub(super) note: Option<String>,
}

impl RightArgs {
    /// The request that makes a token with these rights.
    ///
    /// # Errors
    /// A grant that is no `DB/TABLE`.
    pub(super) fn body(&self, name: &str) -> Result<Value> {
        let mut grants = Vec::new();
        for (may, places) in [("read", &self.read), ("write", &self.write), ("admin", &self.admin)]
        {
            for place in places {
                let Some((db, table)) = place.split_once('/') else {
                    bail!("cannot use --{may} {place}: expected DB/TABLE such as default/sensors");
                };
                grants.push(json!({"may": may, "db": db, "table": table}));
            }
        }
        let mut body = Map::new();
        body.insert("name".into(), name.into());
        body.insert("grants".into(), grants.into());
        for (member, flag) in [("ops", self.ops), ("all", self.all)] {
            body.insert(member.into(), flag.into());
        }
        for (member, list) in [("topics", &self.topic), ("clients", &self.client)] {
            body.insert(member.into(), list.clone().into());
        }
        let texts =
            [("certificate", &self.certificate), ("expires", &self.expires), ("note", &self.note)];
        for (member, text) in texts {
            if let Some(text) = text {
                body.insert(member.into(), text.clone().into());
            }
        }
        Ok(body.into())
    }
}

/// Rights in one line.
pub(super) fn shown(token: &Value) -> String {
    let mut words = Vec::new();
    for flag in ["all", "ops"] {
        if token[flag] == true {
            words.push(flag.to_owned());
        }
    }
    for grant in token["grants"].as_array().into_iter().flatten() {
        let text = |member: &str| grant[member].as_str().unwrap_or_default().to_owned();
        words.push(format!("{} {}/{}", text("may"), text("db"), text("table")));
    }
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// All that is known of a token, a line for each member.
pub(super) fn described(token: &Value) -> String {
    let mut out = String::new();
    for (member, value) in token.as_object().into_iter().flatten() {
        let text = match (member.as_str(), value) {
            ("grants", _) => shown(token),
            (_, Value::Null) => "-".to_owned(),
            (_, Value::String(text)) => text.clone(),
            (_, other) => other.to_string(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{member:14} {text}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_a_request() {
        let args = RightArgs {
            write: vec!["default/sensors".into(), "plant/a/b".into()],
            topic: vec!["sensors/+/%u".into()],
            expires: Some("90d".into()),
            ..RightArgs::default()
        };
        let body = args.body("dev7").unwrap();
        assert_eq!(body["grants"][1], json!({"may": "write", "db": "plant", "table": "a/b"}));
        assert_eq!((&body["expires"], &body["all"]), (&json!("90d"), &json!(false)));
        assert!(body.get("note").is_none());
        assert_eq!(shown(&body), "write default/sensors, write plant/a/b");
        let wrong = RightArgs { read: vec!["sensors".into()], ..RightArgs::default() };
        assert!(wrong.body("x").unwrap_err().to_string().contains("DB/TABLE"));
    }
}
