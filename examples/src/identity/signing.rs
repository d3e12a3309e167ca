//! The secret that signs tokens, kept beside the data: what was signed before a restart is good after it.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use eventsrc_core::clock::{Clock, Randomness};
use eventsrc_core::token::{TokenCodec, TokenKey};

/// Signs with the secret in `PATH.key`, which only the owner may read; a new one is made if there is none.
///
/// # Errors
///
/// If the file cannot be read or made, or holds no secret.
pub fn signed_beside(path: &Path, clock: &dyn Clock, randomness: &Randomness) -> Result<TokenCodec> {
    let path = &with_end(path, ".key");
    let secret = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = new_secret(clock, randomness);
            make(path, &secret).with_context(|| format!("cannot make {}", path.display()))?;
            // Another process may have been faster.
            fs::read_to_string(path)
        }
        read => read,
    };
    let secret = secret.with_context(|| format!("cannot read {}", path.display()))?;
    signed(secret.trim()).with_context(|| format!("there is no secret in {}", path.display()))
}

/// Signs with a secret of this process.
pub fn signed_anew(clock: &dyn Clock, randomness: &Randomness) -> TokenCodec {
    signed(&new_secret(clock, randomness)).expect("a new secret is long enough")
}

fn signed(secret: &str) -> Result<TokenCodec> {
    Ok(TokenCodec::signed(TokenKey::new("identity", secret)?, []))
}

/// Each id has 74 bits that nobody can foretell.
fn new_secret(clock: &dyn Clock, randomness: &Randomness) -> String {
    Vec::from_iter((0..4).map(|_| randomness.commit_id(clock.now()).0.simple().to_string())).concat()
}

/// Makes the file whole, or not at all; one that is there stays.
fn make(path: &Path, secret: &str) -> io::Result<()> {
    let own = with_end(path, &format!(".{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&own)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    let linked = fs::hard_link(&own, path);
    fs::remove_file(&own)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut path = OsString::from(path);
    path.push(end);
    path.into()
}

#[cfg(test)]
mod tests {
    use eventsrc_core::clock::SystemClock;
    use eventsrc_core::token::TokenError;
    use eventsrc_core::{StreamName, Token};

    use super::*;

    #[test]
    fn a_token_outlives_the_process_that_signed_it_and_is_worth_nothing_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let codec = |name: &str| {
            signed_beside(&folder.path().join(name), &SystemClock, &Randomness::from_system()).unwrap()
        };
        let token = Token::claimed(&"user/1".parse::<StreamName>().unwrap(), 3_u64).unwrap();
        let text = codec("here").encode(&token).unwrap();
        assert!(codec("here").decode(&text).unwrap().is_trusted());
        assert_eq!(codec("there").decode(&text), Err(TokenError::Forged));
    }

    #[test]
    fn a_file_without_a_secret_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.db");
        fs::write(with_end(&path, ".key"), "short\n").unwrap();
        let error = signed_beside(&path, &SystemClock, &Randomness::from_system()).unwrap_err();
        assert!(!format!("{error:#}").contains("short\n"), "{error:#}");
        assert_eq!(fs::read_to_string(with_end(&path, ".key")).unwrap(), "short\n");
    }
}
