//! What an entry made over HTTP may name: files of one folder, and addresses that are no metadata
//! service's. Whoever may make connectors shall not read what else lies on the machine.

use super::ConnectorSpec;
use crate::{Error, Result, connector::FileMember};
use std::{
    net::IpAddr,
    path::{Component, Path, PathBuf},
};

/// The entry with the folder before the files that it names.
///
/// # Errors
/// [`Error::Config`]: a file elsewhere, or a link-local address.
pub(crate) fn placed(mut spec: ConnectorSpec, folder: &Path, key: &str) -> Result<ConnectorSpec> {
    check_addresses(&spec, key)?;
    for (member, file) in files(&mut spec) {
        let place = |path: &Path| place(path, folder);
        let placed = match file {
            FileMember::Path(path) => place(path).map(|placed| *path = placed),
            FileMember::Text(text) => place(Path::new(text)).map(|placed| {
                *text = placed.to_string_lossy().into_owned();
            }),
        };
        placed.ok_or_else(|| barred(key, &member))?;
    }
    Ok(spec)
}

/// Checks that each file is one of the folder itself, not one that a link leads to.
///
/// # Errors
/// [`Error::Config`], the same for a file that is missing and one that is elsewhere.
pub(crate) fn check(spec: &ConnectorSpec, folder: &Path, key: &str) -> Result<()> {
    let mut spec = spec.clone();
    for (member, file) in files(&mut spec) {
        let path = match file {
            FileMember::Path(path) => path.clone(),
            FileMember::Text(text) => PathBuf::from(&*text),
        };
        let is_there = folder.canonicalize().is_ok_and(|root| {
            let inside = path.strip_prefix(folder).map(|inside| root.join(inside));
            let inside = inside.unwrap_or_default();
            inside.is_file() && inside.canonicalize().is_ok_and(|real| real == inside)
        });
        if !is_there {
            return Err(barred(key, &member));
        }
    }
    Ok(())
}

/// All files that an entry names, with the members that do.
fn files(spec: &mut ConnectorSpec) -> Vec<(String, FileMember<'_>)> {
    let mut found: Vec<(String, FileMember<'_>)> = Vec::new();
    let common = &mut spec.common;
    let members = [
        ("password_file", &mut common.password_file),
        ("ca_file", &mut common.ca_file),
        ("cert_file", &mut common.cert_file),
        ("key_file", &mut common.key_file),
    ];
    for (member, path) in members {
        found.extend(path.as_mut().map(|path| (member.to_owned(), FileMember::Path(path))));
    }
    if let Some(registry) = &mut common.registry {
        let members =
            [("password_file", &mut registry.password_file), ("ca_file", &mut registry.ca_file)];
        for (member, path) in members {
            let path = path.as_mut();
            found.extend(path.map(|path| (format!("registry.{member}"), FileMember::Path(path))));
        }
    }
    found.extend(spec.kind.of_mut().files());
    found
}

/// The path below the folder, if it is one by its looks.
fn place(path: &Path, folder: &Path) -> Option<PathBuf> {
    let inside = path.strip_prefix(folder).unwrap_or(path);
    let is_plain = inside.components().all(|part| matches!(part, Component::Normal(_)))
        && !inside.as_os_str().is_empty();
    is_plain.then(|| folder.join(inside))
}

fn barred(key: &str, member: &str) -> Error {
    let reason = "there is no such file in the folder connector_files, to which entries made over \
                  HTTP are bound";
    Error::config(format!("{key}.{member}"), reason)
}

fn check_addresses(spec: &ConnectorSpec, key: &str) -> Result<()> {
    let mut hosts: Vec<(String, String)> = Vec::new();
    let addresses = spec.common.addresses(spec.describe().style, key)?.hosts;
    hosts.extend(addresses.into_iter().map(|(host, _)| ("url".to_owned(), host)));
    let registry = spec.common.registry.iter().map(|one| ("registry.url".to_owned(), &*one.url));
    for (member, url) in registry.chain(spec.kind.of().urls()) {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        let end = match host.find(']') {
            Some(end) => end + 1,
            None => host.rfind(':').unwrap_or(host.len()),
        };
        hosts.push((member, host[..end].to_owned()));
    }
    for (member, host) in hosts {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let bare = bare.split('%').next().unwrap_or_default();
        if bare.parse::<IpAddr>().is_ok_and(is_link_local) {
            let reason = "link-local addresses are not for entries made over HTTP";
            return Err(Error::config(format!("{key}.{member}"), reason));
        }
    }
    Ok(())
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(more: &str) -> ConnectorSpec {
        let text = format!(
            "name = \"n\"\nkind = \"kafka\"\nurl = \"kafka://h\"\n{more}\nroutes = [{{ topics = [\"t\"] }}]"
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn files_lie_in_the_folder_or_are_refused_with_one_text() {
        let folder = std::env::temp_dir().join(format!("oribi-files-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("in")).unwrap();
        std::fs::write(folder.join("in/p"), "secret").unwrap();
        drop(std::fs::remove_file(folder.join("link")));
        std::os::unix::fs::symlink("/etc/passwd", folder.join("link")).unwrap();
        let judge = |more: &str| {
            let placed = placed(spec(more), &folder, "connector");
            placed.and_then(|spec| check(&spec, &folder, "connector").map(|()| spec))
        };
        let placed = judge("password_file = \"in/p\"").unwrap();
        assert_eq!(placed.common.password_file, Some(folder.join("in/p")));
        let whole = folder.join("in/p").display().to_string();
        assert!(judge(&format!("password_file = \"{whole}\"")).is_ok());
        let mut texts = std::collections::BTreeSet::new();
        for path in ["/etc/passwd", "../x", "in/../../x", "missing", "link", "in", ""] {
            for member in ["password_file", "ca_file"] {
                let wrong = judge(&format!("{member} = \"{path}\"")).unwrap_err().to_string();
                texts.insert(wrong.replace(member, "…"));
            }
        }
        assert_eq!(texts.len(), 1, "{texts:?}");
        for (more, member) in [
            ("options = { \"ssl.ca.location\" = \"/etc/passwd\" }", "options.ssl.ca.location"),
            ("registry = { url = \"http://r\", ca_file = \"/x\" }", "registry.ca_file"),
        ] {
            let wrong = judge(more).unwrap_err().to_string();
            assert!(wrong.contains(member), "{wrong}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn link_local_addresses_are_refused() {
        let judge = |url: &str, registry: &str| {
            let registry = format!("registry = {{ url = \"{registry}\" }}");
            let mut spec = spec(&registry);
            spec.common.url = url.into();
            placed(spec, Path::new("/none"), "connector").is_ok()
        };
        assert!(judge("kafka://10.0.0.1:9092,h", "http://r:8080/x"));
        for url in ["kafka://169.254.169.254:80", "kafka://h,169.254.1.1", "kafka://[fe80::1]:9092"]
        {
            assert!(!judge(url, "http://r"), "{url}");
        }
        for url in [
            "http://169.254.169.254/latest",
            "http://[fe80::1%25eth0]:80",
            "http://[::ffff:169.254.1.1]",
        ] {
            assert!(!judge("kafka://h", url), "{url}");
            let provider = "sasl.oauthbearer.token.endpoint.url";
            let provider = format!("options = {{ \"{provider}\" = \"{url}\" }}");
            assert!(placed(spec(&provider), Path::new("/none"), "connector").is_err(), "{url}");
        }
    }
}
