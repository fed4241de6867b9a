//! Rules of the tree that neither cargo nor clippy enforces.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const CRATES: [&str; 9] =
    ["model", "access", "store", "cluster", "ingest", "decode", "connectors", "query", "server"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// Files of a crate's `src` without tests, and their code without the test module and comments.
fn code_of(name: &str) -> Vec<(PathBuf, String)> {
    let src = root().join(name).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    files.sort();
    let is_test = |path: &PathBuf| {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        matches!(stem, "tests" | "testing") || path.iter().any(|part| part == "tests")
    };
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
        let code = lines.collect::<Vec<_>>().join("\n");
        (path.strip_prefix(&src).unwrap().to_owned(), code)
    };
    files.into_iter().filter(|path| !is_test(path)).map(read).collect()
}

#[test]
fn what_only_one_place_may_name_stands_only_there() {
    let rules: [(&str, &[&str], &[&str]); 9] = [
        ("openraft::", &["cluster/replica.rs", "cluster/replica/"], &["cluster"]),
        ("std::fs", &["store/disk.rs"], &["model", "store", "cluster", "ingest", "query"]),
        ("SystemTime::now", &["model/time.rs"], &["model", "store", "cluster", "ingest", "query"]),
        ("tokio::", &[], &["model", "store"]),
        // A lease without end says nothing of who leads; a snapshot is taken over while no instance
        // runs; who is dead is decided outside of any group; a founder stands in one place.
        ("LeaseRead", &[], &["cluster"]),
        ("install_full_snapshot", &[], &["cluster"]),
        ("enable_tick: true", &[], &["cluster"]),
        (".initialize(", &["cluster/replica/instance.rs"], &["cluster"]),
        ("datafusion", &[], &["model", "store", "cluster", "ingest", "decode", "connectors"]),
    ];
    for (word, allowed, crates) in rules {
        for name in crates {
            for (path, code) in code_of(name) {
                let place = format!("{name}/{}", path.display());
                let may = allowed.iter().any(|prefix| place.starts_with(prefix));
                assert!(may || !code.contains(word), "{place} names {word}");
            }
        }
    }
}

/// What bytes mean depends on nothing but them and the arguments beside them.
#[test]
fn decoders_reach_for_nothing() {
    const WORDS: [&str; 12] = [
        "tokio",
        "std::fs",
        "fs::",
        "std::net",
        "net::",
        "std::env",
        "std::process",
        "std::thread",
        "SystemTime",
        "SystemClock",
        "Instant",
        "async ",
    ];
    let files = code_of("decode");
    assert!(!files.is_empty());
    for (path, code) in files {
        let named = WORDS.iter().find(|word| code.contains(**word));
        assert_eq!(named, None, "decode/{} names it", path.display());
    }
    let manifest = fs::read_to_string(root().join("decode/Cargo.toml")).unwrap();
    let needed = manifest.split("[dev-dependencies]").next().unwrap_or_default();
    for package in ["tokio", "ureq", "rdkafka", "rumqttc", "native-tls", "axum", "oribi-ingest"] {
        assert!(!needed.contains(package), "decode depends on {package}");
    }
}

/// The paths that the `use` statements of a file name.
fn used_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let before = code[..at].rsplit('\n').next().unwrap_or_default().trim();
        if before.is_empty() || before.starts_with("pub") {
            let statement = code[at + 4..].split(';').next().unwrap_or_default();
            expand(&statement.replace('\n', " "), "", &mut paths);
        }
    }
    paths
}

#[test]
fn agreement_has_a_clock_that_a_test_can_turn() {
    for (path, code) in code_of("cluster") {
        let used = used_paths(&code).iter().any(|path| path == "std::time::Instant");
        let named = code.contains("std::time::Instant");
        assert!(!used && !named, "cluster/{} has an Instant of its own", path.display());
    }
}

#[test]
fn no_file_is_too_long_to_have_one_purpose() {
    const LINES_MAX: usize = 600;
    for name in CRATES {
        for (path, code) in code_of(name) {
            let lines = code.lines().count();
            assert!(lines <= LINES_MAX, "{name}/{} has {lines} lines", path.display());
        }
    }
}

/// The module path of a file: `log/index.rs` is `["log", "index"]`.
fn module_of(path: &Path) -> Vec<String> {
    let parts = path.with_extension("");
    let mut parts: Vec<String> =
        parts.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(parts.last().map(String::as_str), Some("lib" | "main")) {
        parts.pop();
    }
    parts
}

/// The full paths that a `use` tree names: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(tree: &str, prefix: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        found.push(format!("{prefix}{tree}"));
        return;
    };
    let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let prefix = format!("{prefix}{}", &tree[..open]);
    let (mut depth, mut start) = (0, 0);
    for (at, sign) in inner.char_indices().chain([(inner.len(), ',')]) {
        match sign {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = inner[start..at].trim();
                if !part.is_empty() {
                    expand(part, &prefix, found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// The modules of the crate that a file imports from, apart from those that it lies in.
fn imports(
    module: &[String],
    code: &str,
    modules: &BTreeSet<Vec<String>>,
) -> BTreeSet<Vec<String>> {
    let mut imported = BTreeSet::new();
    for path in used_paths(code) {
        let mut parts: Vec<&str> = path.split("::").map(str::trim).collect();
        let mut full: Vec<String> = match parts.first() {
            Some(&"crate") => Vec::new(),
            Some(&"super") => module[..module.len().saturating_sub(1)].to_vec(),
            Some(&"self") => module.to_vec(),
            Some(first) if modules.contains(&[module, &[first.to_string()]].concat()) => {
                parts.insert(0, "self");
                module.to_vec()
            }
            _ => continue,
        };
        parts.remove(0);
        while parts.first() == Some(&"super") {
            parts.remove(0);
            full.pop();
        }
        full.extend(parts.iter().map(|part| part.to_string()));
        while !full.is_empty() && !modules.contains(&full) {
            full.pop();
        }
        if !full.is_empty() && !module.starts_with(&full) {
            imported.insert(full);
        }
    }
    imported
}

#[test]
fn no_module_imports_in_a_circle() {
    for name in CRATES {
        let files = code_of(name);
        let modules: BTreeSet<Vec<String>> =
            files.iter().map(|(path, _)| module_of(path)).collect();
        let mut edges: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
        for (path, code) in &files {
            let module = module_of(path);
            edges.insert(module.clone(), imports(&module, code, &modules));
        }
        // Whoever imports nothing that is left goes; what cannot go is in a circle or above one.
        loop {
            let done: Vec<_> = edges
                .iter()
                .filter(|(_, to)| to.iter().all(|one| !edges.contains_key(one)))
                .map(|(module, _)| module.clone())
                .collect();
            if done.is_empty() {
                break;
            }
            done.iter().for_each(|module| drop(edges.remove(module)));
        }
        let left: Vec<String> = edges.keys().map(|module| module.join("::")).collect();
        assert!(left.is_empty(), "modules of {name} import in a circle: {left:?}");
    }
}
