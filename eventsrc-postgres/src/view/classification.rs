//! Whether what a view's code could not do may go well another time.

use std::error::Error;

use eventsrc_core::{ErrorKind, StorageError};
use tokio_postgres::error::DbError;

use super::layout;
use crate::failure;

/// What to make of an error of a view's code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Classification {
    /// It may go well another time, and this is why.
    Passes(ErrorKind, &'static str),
    /// A statement that was prepared before its tables changed has to be prepared anew.
    Outdated,
    /// The code ended the transaction, or tried to.
    Ends,
    /// It never goes well.
    Lasts,
    /// The error does not tell: it is the code's own, or it says that something went wrong before it.
    Unknown,
}

impl Classification {
    /// The verdict on an error, by the first of its causes that tells.
    pub(super) fn on(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            let told = if let Some(error) = error.downcast_ref::<tokio_postgres::Error>() {
                Some(Self::on_database(error))
            } else if let Some(error) = error.downcast_ref::<DbError>() {
                Some(Self::on_answer(error, ErrorKind::Unavailable, "the database could not do it"))
            } else {
                error.downcast_ref::<StorageError>().map(Self::on_storage)
            };
            if let Some(classification) = told {
                return classification;
            }
            cause = error.source();
        }
        Self::Unknown
    }

    fn on_database(error: &tokio_postgres::Error) -> Self {
        let (kind, why) = failure::judge(error);
        match error.as_db_error() {
            Some(answer) => Self::on_answer(answer, kind, why),
            None if kind == ErrorKind::Unavailable => Self::Passes(kind, why),
            None => Self::Lasts,
        }
    }

    fn on_storage(error: &StorageError) -> Self {
        match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Refused => {
                Self::Passes(error.kind(), "something else is out of order")
            }
            _ => Self::Lasts,
        }
    }

    fn on_answer(answer: &DbError, kind: ErrorKind, why: &'static str) -> Self {
        let passes = Self::Passes(kind, why);
        match answer.code().code() {
            _ if answer.constraint() == Some(layout::UNFINISHED) => Self::Ends,
            layout::BEHIND_THE_FENCE => Self::Ends,
            // An earlier statement failed.
            "25P02" => Self::Unknown,
            "0A000" => Self::Outdated,
            "42501" | "55006" | "55P03" => passes,
            code => match &code[..2] {
                "08" | "28" | "3D" | "40" | "53" | "57" | "58" | "72" | "XX" => passes,
                _ => Self::Lasts,
            },
        }
    }
}
