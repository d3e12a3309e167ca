//! Names of the tables of a view.

use eventsrc_core::{ErrorKind, StorageError, ViewDefinition};

use crate::identifier::Identifier;

/// Checks the public names that a view declares.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] if a name is malformed or declared twice.
pub(super) fn checked(definition: &ViewDefinition, names: &[&str]) -> Result<Vec<Identifier>, StorageError> {
    let mut tables: Vec<Identifier> = Vec::new();
    for name in names {
        let what = || format!("the view {definition} cannot have a table of the name {name:?}");
        ViewDefinition::new(name, [""; 0])
            .map_err(|error| StorageError::new(ErrorKind::Invalid, what()).because(error))?;
        let table = Identifier::new("table", name)?;
        if tables.contains(&table) {
            let what = format!("the view {definition} declares the table {table} twice");
            return Err(StorageError::new(ErrorKind::Invalid, what));
        }
        tables.push(table);
    }
    Ok(tables)
}

/// Reads the stored public names of a version.
///
/// # Errors
///
/// [`ErrorKind::Corrupt`] if a name is malformed.
pub(super) fn from_row(tables: &[String]) -> Result<Vec<Identifier>, StorageError> {
    let read = |table: &String| {
        Identifier::new("table", table).map_err(|error| {
            let what = "cannot read the table names of a view";
            StorageError::new(ErrorKind::Corrupt, what).because(error)
        })
    };
    tables.iter().map(read).collect()
}

/// Name of the table that has the rows of the public table `table` in a version.
pub(super) fn of_version(table: &Identifier, version: i64) -> Identifier {
    Identifier::new("table", &format!("{}_v{version}", table.as_str()))
        .expect("a public name leaves room for a version")
}
