//! Errors by which statements on views report an expected condition.

use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use super::schema::UNFINISHED;
use crate::failure::Failure;

/// SQLSTATE of a write in a read-only transaction.
const READ_ONLY_TRANSACTION: &str = "25006";

/// True for the error of [`PreparedStatements::enter`](super::PreparedStatements::enter) if another transaction holds the
/// advisory lock exclusively.
pub(in crate::view) fn is_locked(error: &Error) -> bool {
    divides_by_zero(error)
}

/// True for the error of [`PreparedStatements::advance`](super::PreparedStatements::advance) if a stream is not at the
/// expected position.
pub(in crate::view) fn position_differs(error: &Error) -> bool {
    divides_by_zero(error)
}

/// True for the error of [`PreparedStatements::advance`](super::PreparedStatements::advance) if a stream is in
/// quarantine. The statement then takes the square root of a negative number.
pub(in crate::view) fn is_quarantined(error: &Error) -> bool {
    has_code(error, "2201F")
}

/// True for the error of [`PreparedStatements::finish`](super::PreparedStatements::finish) if the transaction is not the
/// one that was begun.
pub(in crate::view) fn is_other_transaction(error: &Error) -> bool {
    divides_by_zero(error) || has_code(error, READ_ONLY_TRANSACTION)
}

/// True for the error of a view's code that ended the transaction of the library, or tried to.
pub(in crate::view) fn ended_transaction(error: &DbError) -> bool {
    error.constraint() == Some(UNFINISHED) || error.code().code() == READ_ONLY_TRANSACTION
}

/// True if a name does not exist.
pub(in crate::view) fn misses_a_name(error: &Error) -> bool {
    has_code(error, "42P01")
}

/// True if the version of the view does not exist.
pub(in crate::view) fn misses_the_version(error: &Error) -> bool {
    has_code(error, "23502")
}

/// True if a statement of the library reported a condition by a division by zero.
fn divides_by_zero(error: &Error) -> bool {
    has_code(error, "22012")
}

fn has_code(error: &Error, code: &str) -> bool {
    error.code().is_some_and(|state| state.code() == code)
}

/// Context of errors of reading.
pub(super) const READ: &str = "cannot read the view";

/// Error of a row that does not have the expected format.
pub(super) fn unreadable(error: Error) -> Failure {
    Failure::new(READ, error)
}
