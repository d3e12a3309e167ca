//! Take-overs whose caller is gone.

use eventsrc_core::view::{CatchUp, TakeOver, VersionedStore};
use futures::FutureExt;
use futures::future::{Either, pending, select};
use tokio::sync::oneshot;

use super::fixture::{Folder, TextView, must_end, two_versions};
use crate::{Settings, SqliteView};

/// A catch-up that never returns, and a channel that says when it runs.
fn endless() -> (CatchUp<TextView>, oneshot::Receiver<()>) {
    let (starts, started) = oneshot::channel();
    let catch_up: CatchUp<TextView> = Box::new(|_| {
        let _ = starts.send(());
        pending().boxed()
    });
    (catch_up, started)
}

/// Only this thread could drop the task of the catch-up, and it waits in the drop of the handle.
#[test]
fn a_dropped_take_over_does_not_block_the_drop_of_the_last_handle() {
    must_end(async {
        let folder = Folder::new();
        let database = folder.open(Settings::default()).await;
        let (first, second) = two_versions(&database).await;
        let (catch_up, started) = endless();
        let take_over = Box::pin(second.take_over(catch_up));
        assert!(matches!(select(started, take_over).await, Either::Left((Ok(()), _))));
        drop((first, second, database));
        assert_eq!(folder.files(), 1, "the file is closed");

        let database = folder.open(Settings::default()).await;
        let second: TextView = SqliteView::open(&database, super::fixture::Texts(2)).await.unwrap();
        assert_eq!(second.serving().await.unwrap(), 1);
    });
}

#[test]
fn a_leaked_take_over_does_not_block_the_drop_of_the_last_handle() {
    must_end(async {
        let folder = Folder::new();
        let database = folder.open(Settings::default()).await;
        let (first, second) = two_versions(&database).await;
        let (catch_up, started) = endless();
        let mut take_over = Box::pin(second.take_over(catch_up));
        assert!(matches!(select(started, take_over.as_mut()).await, Either::Left((Ok(()), _))));
        std::mem::forget(take_over);
        drop((first, second, database));
        assert_eq!(folder.files(), 1, "the file is closed");
    });
}

#[test]
fn a_dropped_take_over_is_rolled_back_and_the_writer_thread_goes_on() {
    must_end(async {
        let folder = Folder::new();
        let database = folder.open(Settings::default()).await;
        let (first, second) = two_versions(&database).await;
        let (catch_up, started) = endless();
        let take_over = Box::pin(second.take_over(catch_up));
        assert!(matches!(select(started, take_over).await, Either::Left((Ok(()), _))));
        assert!(matches!(first.take_over(endless().0).await.unwrap(), TakeOver::Done), "it serves already");
        assert_eq!(second.serving().await.unwrap(), 1);
    });
}
