//! All tables of the schema.

use crate::layout::PART as EVENTS;
use crate::leases::layout::PART as LEASES;
use crate::migration::Part;
use crate::view::layout::PART as VIEWS;

/// Parts of the schema, in the order in which they are migrated.
pub(crate) const PARTS: &[&Part] = &[&EVENTS, &VIEWS, &LEASES];
