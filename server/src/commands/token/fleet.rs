//! Tokens of many devices at once.

use super::rights::RightArgs;
use crate::commands::client::{Client, accepted, json};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Tokens of one request.
const AT_ONCE: usize = 1_000;
const COLUMNS: [&str; 9] =
    ["name", "read", "write", "admin", "topic", "client", "certificate", "expires", "note"];

/// Makes a token for each line of `file`, and writes names and secrets to `out`, which nobody else
/// may read. Several values of one cell stand apart by spaces.
///
/// # Errors
/// A line that is wrong, by its number, before any token is made; what the node refuses.
pub(super) fn import(client: &Client, file: &Path, out: &Path) -> Result<()> {
    const OWNER_ALONE: u32 = 0o600;
    let shown = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    let tokens = parse(&text).with_context(|| format!("cannot use {shown}"))?;
    let mut secrets = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(OWNER_ALONE)
        .open(out)
        .with_context(|| format!("cannot make {}", out.display()))?;
    writeln!(secrets, "name,token")?;
    for some in tokens.chunks(AT_ONCE) {
        let body = Value::from(some.to_vec()).to_string();
        let made = json(accepted(client.post("/api/v1/tokens", &[], body.as_bytes())?)?)?;
        for one in made.as_array().into_iter().flatten() {
            let text = |member: &str| one[member].as_str().unwrap_or_default();
            writeln!(secrets, "{},{}", text("name"), text("token"))?;
        }
        secrets.sync_all()?;
    }
    println!("{} tokens were made; their secrets are in {}", tokens.len(), out.display());
    Ok(())
}

fn parse(text: &str) -> Result<Vec<Value>> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let Some((_, head)) = lines.next() else { bail!("it is empty") };
    let columns: Vec<&str> = head.split(',').map(str::trim).collect();
    if let Some(other) = columns.iter().find(|column| !COLUMNS.contains(column)) {
        bail!("its column {other:?} is not known; expected some of {}", COLUMNS.join(", "));
    }
    if !columns.contains(&"name") {
        bail!("its first line has no column name");
    }
    let token = |(at, line): (usize, &str)| -> Result<Value> {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        if cells.len() != columns.len() {
            bail!("line {} has {} cells; expected {}", at + 1, cells.len(), columns.len());
        }
        let cell = |name: &str| {
            columns.iter().position(|column| *column == name).map_or("", |place| cells[place])
        };
        let list = |name: &str| cell(name).split_whitespace().map(str::to_owned).collect();
        let one = |name: &str| Some(cell(name).to_owned()).filter(|text| !text.is_empty());
        let rights = RightArgs {
            read: list("read"),
            write: list("write"),
            admin: list("admin"),
            topic: list("topic"),
            client: list("client"),
            certificate: one("certificate"),
            expires: one("expires"),
            note: one("note"),
            ..RightArgs::default()
        };
        rights.body(cell("name")).with_context(|| format!("line {}", at + 1))
    };
    lines.map(token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_line_is_a_token() {
        let text = "name,write,topic,certificate,note\ndev1,default/sensors default/more,sensors/+/%u,,shed\n\n\
            dev2,default/sensors,,dev2.plant,\n";
        let tokens = parse(text).unwrap();
        assert_eq!(tokens.len(), 2);
        assert_eq!(tokens[0]["grants"].as_array().unwrap().len(), 2);
        assert_eq!(tokens[0]["topics"], json!(["sensors/+/%u"]));
        assert_eq!(tokens[1]["certificate"], json!("dev2.plant"));
        assert!(tokens[1].get("note").is_none() && tokens[0].get("certificate").is_none());
    }

    #[test]
    fn wrong_lines_are_told_by_their_numbers() {
        for (text, words) in [
            ("", "empty"),
            ("write\nx", "name"),
            ("name,colour\na,b", "colour"),
            ("name,write\na", "line 2"),
            ("name,write\na,sensors", "line 2"),
        ] {
            let wrong = format!("{:#}", parse(text).unwrap_err());
            assert!(wrong.contains(words), "{wrong}");
        }
    }
}
