//! Keys of streams in the tables of views. The key of a stream is its name, or a shorter text if the name does not fit into
//! an index.
//!
//! No backend creates streams with such names any more, but an old storage in another database may have them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use tokio_postgres::{Client, Error, Row};

use super::errors::{READ, unreadable};
use crate::connections::Connections;
use crate::failure::Failure;

/// Length in bytes of the longest name that is a key. An index row of Postgres has at most 2,704 bytes.
const LONGEST: usize = 2048;

/// Returns the key of the stream called `name`.
///
/// The key of a longer name is its beginning and a hash. It is longer than any name that is a key, so it is the key of no
/// other stream. Keys sort like names, except for long names with the same beginning.
pub(in crate::view) fn key(name: &str) -> Cow<'_, str> {
    if name.len() <= LONGEST {
        return name.into();
    }
    let beginning = (0..=LONGEST).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    let mut key = format!("{}#", &name[..beginning]);
    for byte in Sha256::digest(name.as_bytes()) {
        write!(key, "{byte:02x}").expect("a string can be written");
    }
    key.into()
}

/// True if the key is not the name of its stream.
fn is_shortened(key: &str) -> bool {
    key.len() > LONGEST
}

const RECORD: &str = "
    INSERT INTO {schema}.view_long_names (key, name) SELECT * FROM unnest($1::text[], $2::text[])
    ON CONFLICT DO NOTHING";

const NAMES: &str = "SELECT key, name FROM {schema}.view_long_names WHERE key = ANY ($1)";

/// Statements on the names that are not keys.
pub(in crate::view) struct LongNames {
    record: String,
    names: String,
}

impl LongNames {
    pub(super) fn new(fill: impl Fn(&str) -> String) -> Self {
        Self { record: fill(RECORD), names: fill(NAMES) }
    }

    /// Records those of `names` that are not keys, so that their keys can be resolved.
    pub(in crate::view) async fn record<'a>(
        &self,
        client: &Client,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Error> {
        let long = names.into_iter().filter(|name| name.len() > LONGEST);
        let (keys, names): (Vec<_>, Vec<_>) = long.map(|name| (key(name), name)).unzip();
        if keys.is_empty() {
            return Ok(());
        }
        client.execute(&self.record, &[&keys, &names]).await.map(drop)
    }

    /// Replaces the keys in `rows` by the names of their streams.
    pub(in crate::view) async fn resolve<R>(
        &self,
        connections: &Connections,
        mut rows: Vec<R>,
        stream: impl Fn(&mut R) -> &mut String,
    ) -> Result<Vec<R>, Failure> {
        let keys = shortened(&mut rows, &stream);
        if !keys.is_empty() {
            let found = connections.query(READ, &self.names, &[&keys]).await?;
            replace(&mut rows, stream, &found).map_err(unreadable)?;
        }
        Ok(rows)
    }

    /// As [`resolve`](LongNames::resolve), as the session of `client` sees the names.
    pub(in crate::view) async fn resolve_with<R>(
        &self,
        client: &Client,
        mut rows: Vec<R>,
        stream: impl Fn(&mut R) -> &mut String,
    ) -> Result<Vec<R>, Error> {
        let keys = shortened(&mut rows, &stream);
        if !keys.is_empty() {
            let found = client.query(&self.names, &[&keys]).await?;
            replace(&mut rows, stream, &found)?;
        }
        Ok(rows)
    }
}

/// Keys in `rows` that are not the names of their streams.
fn shortened<R>(rows: &mut [R], stream: impl Fn(&mut R) -> &mut String) -> Vec<String> {
    rows.iter_mut().map(stream).filter(|key| is_shortened(key)).map(|key| key.clone()).collect()
}

/// Replaces the keys in `rows` by the names in `found`. A key without a name becomes empty, which is no name: its beginning
/// would be taken for the name of another stream.
fn replace<R>(rows: &mut [R], stream: impl Fn(&mut R) -> &mut String, found: &[Row]) -> Result<(), Error> {
    let read = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
    let names: HashMap<String, String> = found.iter().map(read).collect::<Result<_, Error>>()?;
    for key in rows.iter_mut().map(stream).filter(|key| is_shortened(key)) {
        *key = names.get(key).cloned().unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fit_are_their_keys() {
        for name in ["user/1".to_owned(), format!("user/{}", "x".repeat(LONGEST - 5))] {
            assert_eq!(key(&name), name);
            assert!(!is_shortened(&name));
        }
    }

    #[test]
    fn longer_names_have_keys_of_their_own_that_fit_into_an_index() {
        let beginning = format!("user/{}", "x".repeat(LONGEST - 6));
        let names =
            ["ab", "ac", "é", "€b", "a€", &"y".repeat(100_000)].map(|end| format!("{beginning}{end}"));
        let keys: std::collections::BTreeSet<_> = names.iter().map(|name| key(name)).collect();
        assert_eq!(keys.len(), names.len());
        for key in keys {
            assert!(is_shortened(&key) && key.len() <= LONGEST + 65, "{} bytes", key.len());
            assert!(key.starts_with(&beginning));
        }
    }

    /// Stored keys are compared with the keys of later versions, and the migration makes them in SQL.
    #[test]
    fn the_key_of_a_name_never_changes() {
        let name = format!("user/{}", "x".repeat(3_000));
        let hash = "bb0cd996643d0eddb82f459c2dea6973a394c239b0f1672b8b6a7905cb4a6986";
        assert_eq!(key(&name), format!("user/{}#{hash}", "x".repeat(2_043)));
    }
}
