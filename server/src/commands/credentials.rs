//! What a command shows to the node: a token out of a file or of the environment, never out of an
//! argument, which others could read in the list of processes.

use anyhow::{Context, Result, bail};
use std::{
    env, fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// A longer file is no token, bytes.
const BYTES_MAX: u64 = 4_096;

/// The token to show: of `--token-file`, of `ORIBI_TOKEN`, of `ORIBI_TOKEN_FILE`, or the admin's of the
/// node whose folder `ORIBI_DATA_DIR` names. `None`: none of them is there.
///
/// # Errors
/// A file that was named and cannot be read.
pub(super) fn token(file: Option<&Path>) -> Result<Option<String>> {
    if let Some(file) = file {
        return read(file).map(Some);
    }
    if let Some(token) = env::var("ORIBI_TOKEN").ok().filter(|token| !token.is_empty()) {
        return Ok(Some(token.trim().to_owned()));
    }
    if let Some(file) = env::var_os("ORIBI_TOKEN_FILE").filter(|file| !file.is_empty()) {
        return read(Path::new(&file)).map(Some);
    }
    let Some(dir) = env::var_os("ORIBI_DATA_DIR") else { return Ok(None) };
    let file = match env::var_os("ORIBI_AUTH__ADMIN_TOKEN_FILE") {
        Some(file) => PathBuf::from(file),
        None => PathBuf::from(dir).join("admin.token"),
    };
    // Where tokens are off there is none, and none is needed.
    Ok(read(&file).ok())
}

fn read(file: &Path) -> Result<String> {
    let mut text = String::new();
    let shown = file.display();
    let result = match file == Path::new("-") {
        true => io::stdin().take(BYTES_MAX).read_to_string(&mut text),
        false => {
            let file = fs::File::open(file).with_context(|| format!("cannot open {shown}"))?;
            file.take(BYTES_MAX).read_to_string(&mut text)
        }
    };
    result.with_context(|| format!("cannot read the token file {shown}"))?;
    let token = text.lines().next().unwrap_or_default().trim().to_owned();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("cannot use the token file {shown}: its first line is no token");
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::tempdir;

    #[test]
    fn the_first_line_of_a_file_is_the_token() {
        let dir = tempdir().unwrap();
        let file = dir.path().join("token");
        fs::write(&file, "oribi_x\nmore\n").unwrap();
        assert_eq!(token(Some(&file)).unwrap().as_deref(), Some("oribi_x"));
        for wrong in ["", "\n", "a b\n", "é\n"] {
            fs::write(&file, wrong).unwrap();
            assert!(token(Some(&file)).is_err(), "{wrong:?}");
        }
        assert!(token(Some(&dir.path().join("none"))).is_err());
    }
}
