//! Digests of rows, and the rows that are missing or extra.
//!
//! Rows are compared by hashes. In the usual case, that nothing differs, only one sum for each table is kept. Otherwise
//! the hashes of all rows of the differing tables are kept: those that the view has, less those that the events say.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest as _, Sha256};

use super::verification::{MAX_EXAMPLES, TableDifference};
use crate::stream::StreamName;
use crate::view::{RowVisitor, ViewRow};

/// Maximum number of streams that a difference names.
const MAX_STREAMS: usize = 1_000;

/// Number of rows of each table, and the sum of their hashes.
#[derive(Debug, Default)]
pub(super) struct Digests(BTreeMap<String, (u64, u128)>);

impl Digests {
    /// Returns the number of rows.
    pub(super) fn rows(&self) -> u64 {
        self.0.values().map(|(rows, _)| rows).sum()
    }

    /// Returns the names of the tables that differ.
    pub(super) fn differing(&self, other: &Self) -> BTreeSet<String> {
        let tables = self.0.keys().chain(other.0.keys());
        tables.filter(|table| self.0.get(*table) != other.0.get(*table)).cloned().collect()
    }
}

impl RowVisitor for Digests {
    fn visit(&mut self, row: ViewRow<'_>) {
        let (rows, sum) = entry(&mut self.0, row.table);
        *rows += 1;
        *sum = sum.wrapping_add(hash(row.text));
    }
}

/// Number of rows of each hash.
type Hashes = HashMap<u128, u64>;

/// Hashes of the rows that the view has in some tables.
pub(super) struct Found(BTreeMap<String, Hashes>);

impl Found {
    /// Visitor of the rows of `tables`.
    pub(super) fn of(tables: BTreeSet<String>) -> Self {
        Self(tables.into_iter().map(|table| (table, Hashes::new())).collect())
    }
}

impl RowVisitor for Found {
    fn visit(&mut self, row: ViewRow<'_>) {
        if let Some(hashes) = self.0.get_mut(row.table) {
            *hashes.entry(hash(row.text)).or_default() += 1;
        }
    }
}

/// Compares the rows that the events say with those that the view has. The latter remain if they are extra.
pub(super) struct Expected {
    found: Found,
    differences: BTreeMap<String, TableDifference>,
}

impl Expected {
    pub(super) fn new(found: Found) -> Self {
        Self { found, differences: BTreeMap::new() }
    }
}

impl RowVisitor for Expected {
    fn visit(&mut self, row: ViewRow<'_>) {
        let Some(hashes) = self.found.0.get_mut(row.table) else { return };
        if take(hashes, hash(row.text)) {
            return;
        }
        let difference = entry(&mut self.differences, row.table);
        difference.missing += 1;
        add(&mut difference.missing_rows, &mut difference.streams, row);
    }
}

/// Names the extra rows of the view.
pub(super) struct Extra {
    extra: Found,
    differences: BTreeMap<String, TableDifference>,
}

impl Extra {
    pub(super) fn new(Expected { found, mut differences }: Expected) -> Self {
        for (table, hashes) in found.0.iter().filter(|(_, hashes)| !hashes.is_empty()) {
            entry(&mut differences, table).extra = hashes.values().sum();
        }
        Self { extra: found, differences }
    }

    pub(super) fn into_differences(self) -> Vec<TableDifference> {
        self.differences
            .into_iter()
            .map(|(table, difference)| TableDifference { table, ..difference })
            .collect()
    }
}

impl RowVisitor for Extra {
    fn visit(&mut self, row: ViewRow<'_>) {
        let Some(hashes) = self.extra.0.get_mut(row.table) else { return };
        if take(hashes, hash(row.text)) {
            let difference = entry(&mut self.differences, row.table);
            add(&mut difference.extra_rows, &mut difference.streams, row);
        }
    }
}

/// Adds a row to the examples, and its stream to the streams.
fn add(examples: &mut Vec<String>, streams: &mut BTreeSet<StreamName>, row: ViewRow<'_>) {
    if examples.len() < MAX_EXAMPLES {
        examples.push(row.text.to_owned());
    }
    if let Some(stream) = row.stream
        && streams.len() < MAX_STREAMS
    {
        streams.insert(stream);
    }
}

/// Removes one row with this hash. Returns false if there is none.
fn take(hashes: &mut Hashes, hash: u128) -> bool {
    let Some(count) = hashes.get_mut(&hash) else { return false };
    *count -= 1;
    if *count == 0 {
        hashes.remove(&hash);
    }
    true
}

/// Returns the value of a table, and allocates its name only once.
fn entry<'a, T: Default>(tables: &'a mut BTreeMap<String, T>, table: &str) -> &'a mut T {
    if !tables.contains_key(table) {
        tables.insert(table.to_owned(), T::default());
    }
    tables.get_mut(table).expect("the table was inserted")
}

/// The first half of the SHA-256 of a row.
fn hash(text: &str) -> u128 {
    let hash = Sha256::digest(text);
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    u128::from_le_bytes(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes rows of two tables to a visitor.
    fn visited<R: RowVisitor>(mut visitor: R, users: &[&str], orders: &[&str]) -> R {
        for (table, texts) in [("users", users), ("orders", orders)] {
            texts.iter().for_each(|text| visitor.visit(ViewRow { table, text, stream: text.parse().ok() }));
        }
        visitor
    }

    fn differences(found: &[&str], expected: &[&str]) -> Vec<TableDifference> {
        let counted = visited(Found::of(["users".to_owned()].into()), found, &["other"]);
        let compared = visited(Expected::new(counted), expected, &["another"]);
        visited(Extra::new(compared), found, &["other"]).into_differences()
    }

    #[test]
    fn only_tables_whose_rows_differ_are_compared_further() {
        let digests = |users: &[&str], orders: &[&str]| visited(Digests::default(), users, orders);
        let found = digests(&["a", "b"], &["a"]);
        assert_eq!(found.rows(), 3);
        assert!(found.differing(&digests(&["b", "a"], &["a"])).is_empty());
        assert_eq!(found.differing(&digests(&["a", "c"], &["a"])), ["users".to_owned()].into());
        assert_eq!(found.differing(&digests(&["a", "b"], &[])), ["orders".to_owned()].into());
        assert_eq!(found.differing(&digests(&["a"], &["a", "b"])).len(), 2, "a row is of its table");
    }

    #[test]
    fn equal_rows_are_counted() {
        assert_eq!(differences(&["a", "b"], &["b", "a"]), []);
        let [difference] = &differences(&["a", "a", "b"], &["a", "b", "b", "user/1"])[..] else { panic!() };
        assert_eq!((difference.missing, difference.extra), (2, 1));
        assert_eq!(
            (&difference.missing_rows[..], &difference.extra_rows[..]),
            (&["b".into(), "user/1".into()][..], &["a".into()][..])
        );
        assert_eq!(difference.streams.iter().map(StreamName::as_str).collect::<Vec<_>>(), ["user/1"]);
    }

    #[test]
    fn a_row_that_was_changed_again_is_counted_and_not_named() {
        let counted = visited(Found::of(["users".to_owned()].into()), &["forged"], &[]);
        let compared = visited(Expected::new(counted), &["a"], &[]);
        let [difference] = &visited(Extra::new(compared), &["later"], &[]).into_differences()[..] else {
            panic!()
        };
        assert_eq!((difference.missing, difference.extra, difference.extra_rows.len()), (1, 1, 0));
    }

    #[test]
    fn examples_are_limited_and_all_rows_are_counted() {
        let texts: Vec<_> = (0..2_000).map(|number| format!("user/{number}")).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let [difference] = &differences(&texts, &[])[..] else { panic!() };
        assert_eq!((difference.extra, difference.extra_rows.len()), (2_000, MAX_EXAMPLES));
        assert_eq!(difference.streams.len(), MAX_STREAMS);
    }
}
