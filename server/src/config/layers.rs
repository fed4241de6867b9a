//! Where values come from: flag over environment over file over default.

use super::{Config, keys, memory};
use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use std::{os::unix::fs::PermissionsExt, path::Path};
use toml::{Spanned, Table, Value, de::DeTable};

/// Environment variables that start like configuration but belong to the command line.
const OTHER_VARIABLES: [&str; 5] =
    ["ORIBI_CONFIG", "ORIBI_URL", "ORIBI_TOKEN", "ORIBI_TOKEN_FILE", "ORIBI_CA_FILE"];

/// What was given.
#[derive(Debug, Default)]
pub(crate) struct Sources<'a> {
    /// Top-level keys whose defaults are others than usual.
    pub(crate) defaults: Vec<(&'static str, String)>,
    /// The configuration file.
    pub(crate) file: Option<&'a Path>,
    /// The environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Flags: each as written, its key, its value.
    pub(crate) flags: Vec<(String, String, String)>,
}

/// Reads all sources. Warnings are for the log, once there is one.
///
/// # Errors
/// Names the source, the key, and what was expected.
pub(crate) fn load(sources: Sources<'_>) -> Result<(Config, Vec<String>)> {
    let mut warnings = Vec::new();
    let mut table = match sources.file {
        Some(path) => read_file(path, &mut warnings)?,
        None => Table::new(),
    };
    for (key, value) in sources.defaults {
        if !table.contains_key(key) {
            set(&mut table, key, &value, key)?;
        }
    }
    let mut variables = sources.environment;
    variables.sort();
    // `RUST_LOG` is what Rust programs are used to; the name of our own wins.
    if let Some(at) = variables.iter().position(|(name, _)| name == "RUST_LOG") {
        let (name, value) = variables.remove(at);
        set(&mut table, "log", &value, &name)?;
    }
    for (name, value) in variables {
        let Some(key) = key_of_variable(&name) else { continue };
        if key_exists(&key) {
            set(&mut table, &key, &value, &format!("the environment variable {name}"))?;
        } else {
            warnings.push(format!("{name} is ignored: {}", keys::unknown(&key)));
        }
    }
    for (flag, key, value) in sources.flags {
        if !key_exists(&key) {
            bail!("cannot use {flag}: {}", keys::unknown(&key));
        }
        set(&mut table, &key, &value, &flag)?;
    }
    memory::derive(&mut table);
    let config = Config::deserialize(table).map_err(|wrong| anyhow!("{wrong}"))?;
    config.validate().map_err(|wrong| anyhow!("cannot use the configuration: {wrong}"))?;
    Ok((config, warnings))
}

fn read_file(path: &Path, warnings: &mut Vec<String>) -> Result<Table> {
    const WRITABLE_BY_ALL: u32 = 0o002;
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration file {shown}"))?;
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & WRITABLE_BY_ALL != 0 {
        warnings.push(format!("anybody may change the configuration file {shown}: chmod o-w it"));
    }
    let refused = |wrong: String| anyhow!("cannot use the configuration file {shown}: {wrong}");
    let parsed = DeTable::parse(&text).map_err(|wrong| refused(wrong.to_string()))?;
    check_keys(parsed.get_ref(), "", &text).map_err(&refused)?;
    // Types are checked here and not after the merge, as only here their lines are known.
    toml::from_str::<Config>(&text).map_err(|wrong| refused(wrong.to_string()))?;
    toml::from_str(&text).map_err(|wrong| refused(wrong.to_string()))
}

/// Refuses the first key that does not exist, with its line.
fn check_keys(table: &DeTable<'_>, section: &str, text: &str) -> Result<(), String> {
    let Some(known) = keys::of_section(section) else { return Ok(()) };
    for (key, value) in table {
        let name = key.get_ref();
        let path = if section.is_empty() { name.to_string() } else { format!("{section}.{name}") };
        if !known.contains(&name.as_ref()) {
            let line = text[..key.span().start].matches('\n').count() + 1;
            return Err(format!("line {line}: {}", keys::unknown(&path)));
        }
        if let Some(inner) = value.get_ref().as_table() {
            check_keys(inner, &path, text)?;
        }
        for element in value.get_ref().as_array().into_iter().flat_map(|array| array.iter()) {
            if let Some(inner) = Spanned::get_ref(element).as_table() {
                check_keys(inner, &path, text)?;
            }
        }
    }
    Ok(())
}

/// `ORIBI_STORAGE__LOG_BYTES_MAX` is `storage.log_bytes_max`.
fn key_of_variable(name: &str) -> Option<String> {
    let key = name.strip_prefix("ORIBI_").filter(|_| !OTHER_VARIABLES.contains(&name))?;
    Some(key.to_ascii_lowercase().replacen("__", ".", 1))
}

fn key_exists(key: &str) -> bool {
    keys::all().iter().any(|known| known == key)
}

/// Sets one key, and checks its type as long as it is known where it came from.
fn set(table: &mut Table, key: &str, text: &str, origin: &str) -> Result<()> {
    let value = parse_value(key, text);
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, inner)) => {
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                section.insert(inner.to_owned(), value);
            }
        }
    }
    Config::deserialize(table.clone())
        .map(|_| ())
        .map_err(|wrong| anyhow!("cannot use {origin}: {}", wrong.to_string().trim()))
}

/// A value as TOML writes it; what is no TOML is text.
fn parse_value(key: &str, text: &str) -> Value {
    let as_text = || Value::String(text.to_owned());
    if keys::TEXT_KEYS.contains(&key) {
        return as_text();
    }
    let parsed = toml::from_str::<Table>(&format!("value = {text}"));
    parsed.ok().and_then(|mut table| table.remove("value")).unwrap_or_else(as_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag(key: &str, value: &str) -> (String, String, String) {
        (format!("--set {key}={value}"), key.into(), value.into())
    }

    fn variable(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn refusal(text: &str) -> String {
        let file = file(text);
        let sources = Sources { file: Some(file.path()), ..Sources::default() };
        format!("{:#}", load(sources).unwrap_err())
    }

    #[test]
    fn flag_over_environment_over_file_over_default() {
        let file = file(
            "http_listen = \"127.0.0.1:1\"\nmqtt_listen = \"127.0.0.1:1\"\n\
             [storage]\nlog_bytes_max = 1_000_000_000\nidle_flush_s = 5\n",
        );
        let (config, warnings) = load(Sources {
            file: Some(file.path()),
            environment: vec![
                variable("ORIBI_MQTT_LISTEN", "127.0.0.1:2"),
                variable("ORIBI_STORAGE__IDLE_FLUSH_S", "6"),
                variable("ORIBI_DATA_DIR", "7"),
                variable("ORIBI_HTTP__CORS_ORIGINS", "[\"*\"]"),
                variable("ORIBI_NOTHING", "x"),
                variable("RUST_LOG", "warn"),
            ],
            flags: vec![flag("storage.idle_flush_s", "7")],
            ..Sources::default()
        })
        .unwrap();
        assert_eq!(config.http_listen, "127.0.0.1:1");
        assert_eq!(config.mqtt_listen, "127.0.0.1:2");
        assert_eq!(config.node_listen, Config::default().node_listen);
        assert_eq!(config.data_dir, Path::new("7"));
        assert_eq!((config.storage.log_bytes_max, config.storage.idle_flush_s), (1_000_000_000, 7));
        assert_eq!((config.http.cors_origins, config.log), (vec!["*".to_owned()], "warn".into()));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }

    #[test]
    fn a_file_is_refused_with_key_and_line() {
        let text = refusal("data_dir = \"x\"\n\n[storage]\nlog_byte_max = 1\n");
        assert!(text.contains("line 4") && text.contains("storage.log_bytes_max"), "{text}");
        let text = refusal("[[mqtt.topics]]\npattern = \"a\"\ntabel = \"b\"\n");
        assert!(text.contains("line 3") && text.contains("mqtt.topics.table"), "{text}");
        let text = refusal("[storage]\nlog_bytes_max = \"big\"\n");
        assert!(text.contains("line 2") && text.contains("log_bytes_max"), "{text}");
        assert!(refusal("[storage\n").contains("line 1"));
        assert!(refusal("[http]\nratio_max = 0\n").contains("http.ratio_max is 0"));
    }

    #[test]
    fn a_flag_is_refused_by_name() {
        let load = |key, value| {
            let sources = Sources { flags: vec![flag(key, value)], ..Sources::default() };
            format!("{:#}", load(sources).unwrap_err())
        };
        assert!(load("storage.idle_flush", "1").contains("storage.idle_flush_s"));
        let text = load("storage.idle_flush_s", "soon");
        assert!(text.contains("--set storage.idle_flush_s=soon"), "{text}");
    }
}
