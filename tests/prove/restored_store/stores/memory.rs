//! The memory.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use eventsrc_core::storage::{Put, ScanStorage, Segment};
use eventsrc_core::{EventStorage, MemoryStorage, StreamName};
use futures::TryStreamExt;

use super::Restorable;
use crate::restored_store::swapped::Swapped;

type Memory = Arc<MemoryStorage<StreamName, u64, u64>>;

/// The memory. A backup is a copy.
pub(in crate::restored_store) struct MemoryStore {
    storage: Swapped<Memory>,
    backup: Option<Memory>,
}

impl Restorable for MemoryStore {
    type Storage = Swapped<Memory>;

    async fn new() -> Result<Self> {
        Ok(Self { storage: Swapped::new(Memory::default()), backup: None })
    }

    fn handles(&self) -> Vec<Self::Storage> {
        vec![self.storage.clone()]
    }

    async fn new_handle(&self) -> Result<Self::Storage> {
        Ok(self.storage.clone())
    }

    async fn back_up(&mut self) -> Result<()> {
        let (original, backup) = (self.storage.current(), Memory::default());
        let mut pages = original.scan(Segment::ALL);
        while let Some(page) = pages.try_next().await? {
            for commit in page.commits() {
                let put = backup.put(Arc::clone(commit)).await?;
                ensure!(matches!(put, Put::Stored), "the copy of a commit had the result {put:?}");
            }
        }
        self.backup = Some(backup);
        Ok(())
    }

    async fn restore(&mut self) -> Result<()> {
        self.storage.replace(Some(self.backup.take().context("a backup")?));
        Ok(())
    }
}
