//! The key that signs tokens. It is stored next to the data, so tokens stay valid after a restart.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use eventsrc_core::clock::{Clock, Randomness};
use eventsrc_core::token::{TokenCodec, TokenKey};

/// Returns a codec that signs with the secret in the file `PATH.key`. Creates the file, readable for its owner only, if
/// it does not exist.
///
/// # Errors
///
/// If the file cannot be read or created, or contains no secret.
pub fn signed_with_key_file(path: &Path, clock: &dyn Clock, randomness: &Randomness) -> Result<TokenCodec> {
    let path = &with_suffix(path, ".key");
    let secret = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = new_secret(clock, randomness);
            create(path, &secret).with_context(|| format!("cannot create {}", path.display()))?;
            // Another process may have created it first.
            fs::read_to_string(path)
        }
        read => read,
    };
    let secret = secret.with_context(|| format!("cannot read {}", path.display()))?;
    signed(secret.trim()).with_context(|| format!("{} contains no secret", path.display()))
}

/// Returns a codec that signs with a new secret, which lasts as long as the process.
pub fn signed_with_new_key(clock: &dyn Clock, randomness: &Randomness) -> TokenCodec {
    signed(&new_secret(clock, randomness)).expect("a new secret is long enough")
}

fn signed(secret: &str) -> Result<TokenCodec> {
    Ok(TokenCodec::signed(TokenKey::new("identity", secret)?, []))
}

/// Each of the four ids has 74 random bits.
fn new_secret(clock: &dyn Clock, randomness: &Randomness) -> String {
    Vec::from_iter((0..4).map(|_| randomness.commit_id(clock.now()).0.simple().to_string())).concat()
}

/// Creates the file atomically. An existing file stays.
fn create(path: &Path, secret: &str) -> io::Result<()> {
    let temporary = with_suffix(path, &format!(".{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(path);
    path.push(suffix);
    path.into()
}

#[cfg(test)]
mod tests {
    use eventsrc_core::clock::SystemClock;
    use eventsrc_core::token::TokenError;
    use eventsrc_core::{StreamName, Token};

    use super::*;

    #[test]
    fn a_token_is_valid_after_a_restart_and_invalid_with_another_key() {
        let folder = tempfile::tempdir().unwrap();
        let codec = |name: &str| {
            signed_with_key_file(&folder.path().join(name), &SystemClock, &Randomness::from_system()).unwrap()
        };
        let token = Token::claimed(&"user/1".parse::<StreamName>().unwrap(), 3_u64).unwrap();
        let text = codec("here").encode(&token).unwrap();
        assert!(codec("here").decode(&text).unwrap().is_trusted());
        assert_eq!(codec("there").decode(&text), Err(TokenError::Forged));
    }

    #[test]
    fn a_key_file_without_a_secret_is_an_error_and_stays_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.db");
        fs::write(with_suffix(&path, ".key"), "short\n").unwrap();
        let error = signed_with_key_file(&path, &SystemClock, &Randomness::from_system()).unwrap_err();
        assert!(!format!("{error:#}").contains("short\n"), "{error:#}");
        assert_eq!(fs::read_to_string(with_suffix(&path, ".key")).unwrap(), "short\n");
    }
}
