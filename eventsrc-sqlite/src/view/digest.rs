//! Digest of the rows of a view version, independent of their order.

use eventsrc_core::view::ViewDigest;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use sha2::{Digest as _, Sha256};

use super::inner::ViewInner;
use crate::failure::Failure;
use crate::layout::views as layout;

impl<K, S, E, V> ViewInner<K, S, E, V> {
    /// Sum, modulo 2^128, of the hashes of all rows. Versions with the same rows in tables of the same public names have
    /// the same digest.
    pub(super) fn digest(&self, connection: &Connection) -> Result<ViewDigest, Failure> {
        self.id(connection)?;
        let (mut rows, mut sum) = (0, 0_u128);
        for table in &self.tables {
            layout::visit_rows(connection, table, self.version(), |values| {
                rows += 1;
                sum = sum.wrapping_add(hash(table, values));
            })
            .map_err(|error| Failure::new(&self.cannot("read"), error))?;
        }
        Ok(ViewDigest { rows, hash: format!("{sum:032x}") })
    }
}

/// The first half of the SHA-256 of the table's name and of the values, each with its type and length.
fn hash(table: &str, values: &mut dyn Iterator<Item = ValueRef<'_>>) -> u128 {
    let mut hash = Sha256::new();
    let mut add = |kind: u8, bytes: &[u8]| {
        hash.update([kind]);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(0, table.as_bytes());
    for value in values {
        match value {
            ValueRef::Null => add(1, &[]),
            ValueRef::Integer(number) => add(2, &number.to_le_bytes()),
            ValueRef::Real(number) => add(3, &number.to_bits().to_le_bytes()),
            ValueRef::Text(text) => add(4, text),
            ValueRef::Blob(bytes) => add(5, bytes),
        }
    }
    let hash = hash.finalize();
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    u128::from_le_bytes(half)
}
