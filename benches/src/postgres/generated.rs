//! Deposits that are generated as they are read, so that a storage of any size takes no memory.

use std::sync::Arc;

use eventsrc_core::storage::Page;
use eventsrc_core::storage::{CommitOf, HeadsOf, PageOf, PutOf, ScanStorage, Segment};
use eventsrc_core::{ErrorKind, EventStorage, Head, StorageError, StreamName, Timestamp};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::totals::{ACCOUNTS, account, deposit};

const COMMITS_PER_PAGE: u64 = 256;

/// A storage with `deposits` deposits in each account.
#[derive(Clone)]
pub(crate) struct Generated {
    pub(crate) deposits: u64,
}

impl Generated {
    fn page(&self, account: u64, first: u64) -> Page<StreamName, u64, i64> {
        let numbers = (first - 1..self.deposits).take(COMMITS_PER_PAGE as usize);
        Page::new(numbers.map(|before| Arc::new(deposit(before * ACCOUNTS + account))).collect())
    }

    fn pages(&self, account: u64, first: u64) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let firsts = (first..=self.deposits).step_by(COMMITS_PER_PAGE as usize);
        stream::iter(firsts.map(move |first| Ok(self.page(account, first)))).boxed()
    }

    fn head(&self) -> Head<u64> {
        Head { sequence: self.deposits, time: Timestamp::UNIX_EPOCH, commit_id: None }
    }
}

impl EventStorage for Generated {
    type Key = StreamName;
    type Sequence = u64;
    type Payload = i64;

    async fn put(&self, _: Arc<CommitOf<Self>>) -> Result<PutOf<Self>, StorageError> {
        Err(StorageError::new(ErrorKind::Refused, "this storage is read-only"))
    }

    async fn recent(&self, _: &StreamName, _: usize) -> Result<Vec<Head<u64>>, StorageError> {
        Ok(vec![self.head()])
    }

    fn events(
        &self,
        key: &StreamName,
        from: Option<u64>,
    ) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        let account = key.id().parse().expect("the id of an account is its number");
        self.pages(account, from.unwrap_or(1))
    }
}

impl ScanStorage for Generated {
    fn scan(&self, segment: Segment) -> BoxStream<'_, Result<PageOf<Self>, StorageError>> {
        stream::iter(accounts(segment).map(|account| self.pages(account, 1))).flatten().boxed()
    }

    fn heads(&self, segment: Segment) -> BoxStream<'_, Result<HeadsOf<Self>, StorageError>> {
        let heads = accounts(segment).map(|number| (account(number), self.head())).collect();
        stream::iter([Ok(heads)]).boxed()
    }
}

fn accounts(segment: Segment) -> impl Iterator<Item = u64> {
    (u64::from(segment.index())..ACCOUNTS).step_by(segment.total() as usize)
}
