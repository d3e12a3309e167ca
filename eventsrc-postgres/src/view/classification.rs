//! Classification of the errors of a view's code: transient or permanent.

use std::error::Error;

use eventsrc_core::backend::cause_of;
use eventsrc_core::{ErrorKind, StorageError};
use tokio_postgres::error::DbError;

use super::layout;
use crate::failure;

/// Reason of an error because of a missing object.
const MISSING_OBJECT: &str = "a table, a column or another object that a statement names is missing";

/// Class of an error of a view's code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Classification {
    /// Transient, with its kind and its reason as a clause.
    Transient(ErrorKind, &'static str),
    /// A statement was prepared before its tables changed, and must be prepared again.
    StaleStatement,
    /// The code ended the transaction, or tried to.
    EndedTransaction,
    /// Permanent: a retry fails as well.
    Permanent,
    /// Undetermined: the error is the code's own, or the consequence of an earlier error.
    Unknown,
}

impl Classification {
    /// Classifies an error by the first of its causes that is of a known type.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            let found = if let Some(error) = error.downcast_ref::<tokio_postgres::Error>() {
                Some(Self::of_client(error))
            } else if let Some(error) = error.downcast_ref::<DbError>() {
                let reason = "the database could not execute a statement";
                Some(Self::of_server(error, ErrorKind::Unavailable, reason))
            } else {
                error.downcast_ref::<StorageError>().map(Self::of_storage)
            };
            if let Some(classification) = found {
                return classification;
            }
            cause = cause_of(error);
        }
        Self::Unknown
    }

    fn of_client(error: &tokio_postgres::Error) -> Self {
        let (kind, reason) = failure::classify(error);
        match error.as_db_error() {
            Some(error) => Self::of_server(error, kind, reason),
            None if kind == ErrorKind::Unavailable => Self::Transient(kind, reason),
            None => Self::Permanent,
        }
    }

    fn of_storage(error: &StorageError) -> Self {
        match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Overloaded | ErrorKind::Refused => {
                Self::Transient(error.kind(), "a storage that its code uses is not available")
            }
            _ => Self::Permanent,
        }
    }

    fn of_server(error: &DbError, kind: ErrorKind, reason: &'static str) -> Self {
        let transient = Self::Transient(kind, reason);
        match error.code().code() {
            _ if layout::ended_transaction(error) => Self::EndedTransaction,
            // An earlier statement of the transaction failed.
            "25P02" => Self::Unknown,
            "0A000" => Self::StaleStatement,
            "42501" | "55006" | "55P03" => transient,
            // It fails for every value, so it is no error of an event: a table, a column, another object, a function, a
            // unique index or the type of a column differs from what the statement names.
            "42P01" | "42703" | "42704" | "42883" | "42P10" | "42804" => {
                Self::Transient(ErrorKind::Refused, MISSING_OBJECT)
            }
            code => match &code[..2] {
                "08" | "28" | "3D" | "3F" | "40" | "53" | "57" | "58" | "72" | "XX" => transient,
                _ => Self::Permanent,
            },
        }
    }
}
