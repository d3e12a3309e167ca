//! Verification of a view: finding rows that were changed, deleted or added by hand.
//!
//! The rows are a function of the events. [`verify`] folds the events of the view's positions once more, with the view's
//! own code and into a version of its own, and compares the rows of both.

mod differences;
mod error;
mod fold;
mod verification;

use differences::{Digests, Expected, Extra, Found};
pub use error::VerifyError;
use fold::Fold;
pub use verification::{MAX_EXAMPLES, TableDifference, Verification};

use crate::storage::{ErrorKind, EventStorage, StorageError};
use crate::view::ScanRows;

/// Compares the rows of `view` with those that its code makes of the events now, and names the rows that differ.
///
/// `open_scratch` opens another version of the view with the same code. Its number must belong to this purpose alone: the
/// version is emptied first, and removed at the end. An interrupted verification leaves it behind, and the next one removes
/// it.
///
/// The view may be kept up to date meanwhile, by any process. It is compared as it was in one snapshot, with exactly the
/// commits of its positions in that snapshot: a stream in quarantine up to where it stands, and without the commits that
/// were skipped. Rows that are no function of the events alone, such as those with generated ids, differ.
///
/// ```no_run
/// # use eventsrc_core::verify::{Verification, verify};
/// # async fn nightly<St, V, F>(storage: St, view: V, open: impl Fn(u32) -> F) -> Result<(), Box<dyn std::error::Error>>
/// # where
/// #     St: eventsrc_core::EventStorage<Key = V::Key, Sequence = V::Sequence, Payload = V::Payload>,
/// #     V: eventsrc_core::view::ScanRows,
/// #     F: Future<Output = Result<V, eventsrc_core::StorageError>>,
/// # {
/// match verify(&storage, &view, || open(1_000_000)).await? {
///     Verification::Equal { rows } => println!("{rows} rows are as the events say"),
///     Verification::Different(tables) => tables.iter().for_each(|table| println!("{table}")),
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`VerifyError`]. `ErrorKind::Invalid` if the scratch version is the verified version, the serving version or one of
/// another view.
pub async fn verify<St, V, F>(
    storage: &St,
    view: &V,
    open_scratch: impl Fn() -> F,
) -> Result<Verification, VerifyError>
where
    St: EventStorage<Key = V::Key, Sequence = V::Sequence, Payload = V::Payload>,
    V: ScanRows,
    F: Future<Output = Result<V, StorageError>>,
{
    let left_behind = open_scratch().await?;
    let (own, other) = (view.definition(), left_behind.definition());
    if own.name() != other.name() || own.version() == other.version() {
        let what = format!("{other} cannot be the scratch version in which {own} is verified");
        return Err(StorageError::new(ErrorKind::Invalid, what).into());
    }
    left_behind.retire().await?;
    let scratch = open_scratch().await?;
    let compared = compare(storage, view, &scratch).await;
    // The error of the comparison is the first one.
    let retired = scratch.retire().await;
    let verification = compared?;
    retired?;
    Ok(verification)
}

/// Compares digests, and if they differ, the rows of the tables whose digests differ.
async fn compare<St, V>(storage: &St, view: &V, scratch: &V) -> Result<Verification, VerifyError>
where
    St: EventStorage<Key = V::Key, Sequence = V::Sequence, Payload = V::Payload>,
    V: ScanRows,
{
    let fold = Fold { storage, view, scratch };
    let (found, positions) = view.scan_rows(Digests::default()).await?;
    fold.advance(positions).await?;
    let (expected, _) = scratch.scan_rows(Digests::default()).await?;
    let tables = found.differing(&expected);
    if tables.is_empty() {
        return Ok(Verification::Equal { rows: found.rows() });
    }
    // The view has moved on, so that its rows are compared at later positions.
    let (found, positions) = view.scan_rows(Found::of(tables)).await?;
    fold.advance(positions).await?;
    let (expected, _) = scratch.scan_rows(Expected::new(found)).await?;
    let (extra, _) = view.scan_rows(Extra::new(expected)).await?;
    let differences = extra.into_differences();
    Ok(match differences.is_empty() {
        // A commit has replaced the rows that differed.
        true => Verification::Equal { rows: found_rows(scratch).await? },
        false => Verification::Different(differences),
    })
}

async fn found_rows<V: ScanRows>(scratch: &V) -> Result<u64, StorageError> {
    Ok(scratch.scan_rows(Digests::default()).await?.0.rows())
}
