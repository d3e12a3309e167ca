//! All statements on views.

use super::positions::Positions;
use super::records::Records;
use super::stream_keys::LongNames;
use super::transactions::Transactions;
use super::versions::Versions;
use crate::identifier::Identifier;
use crate::migration::in_schema;

/// Id of version `$2` of the view `$1`; NULL, which no row has, if the version does not exist.
const VERSION: &str = "(SELECT id FROM {schema}.view_versions WHERE view = $1 AND version = $2)";

/// Statements on the views in one schema.
pub(in crate::view) struct ViewLayout {
    pub(in crate::view) transactions: Transactions,
    pub(in crate::view) positions: Positions,
    pub(in crate::view) records: Records,
    pub(in crate::view) long_names: LongNames,
    pub(in crate::view) versions: Versions,
}

impl ViewLayout {
    /// Statements for the tables in `schema`.
    pub(in crate::view) fn new(schema: &Identifier) -> Self {
        let fill = |sql: &str| in_schema(&sql.replace("{version}", VERSION), schema);
        Self {
            transactions: Transactions::new(fill),
            positions: Positions::new(fill),
            records: Records::new(fill),
            long_names: LongNames::new(fill),
            versions: Versions::new(fill),
        }
    }
}
