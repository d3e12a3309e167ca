//! What holds when calls fail: workers that go by positions end where they would have ended without faults.

use std::sync::Arc;

use eventsrc_core::view::{Applied, StreamPosition, ViewStore};
use eventsrc_core::{StorageError, StreamName, ViewDefinition};
use futures::future::BoxFuture;

use super::super::report::{RuleResult, Violation, ensure, ensure_eq};
use super::super::trial::together;
use super::applying::slices;
use super::backend::{ViewBackend, ViewCapabilities, ViewRows, ViewSequenceOf};
use super::racing::{may_be_tried_again, work};
use super::trial::{ViewHandle, ViewTrial, named, rows_of, run, same_rows};
use crate::faulty::{FaultSource, FaultyView};

/// A backend whose view stores fail now and then. Rows are read without faults.
///
/// All handles draw from one source, so the faults of a whole suite come from one seed.
#[derive(Debug)]
pub struct FaultyViewBackend<B> {
    backend: Arc<B>,
    source: Arc<FaultSource>,
}

impl<B> FaultyViewBackend<B> {
    /// `backend` with faults from `source`.
    pub fn new(backend: Arc<B>, source: Arc<FaultSource>) -> Self {
        Self { backend, source }
    }
}

impl<B: ViewBackend> ViewBackend for FaultyViewBackend<B> {
    type Store = FaultyView<B::Store>;
    type Location = B::Location;

    fn capabilities(&self) -> ViewCapabilities {
        self.backend.capabilities()
    }

    async fn create(&self) -> Self::Location {
        self.backend.create().await
    }

    async fn open(&self, place: &Self::Location, definition: &ViewDefinition) -> Self::Store {
        FaultyView::with(self.backend.open(place, definition).await, Arc::clone(&self.source))
    }

    async fn rows(&self, store: &Self::Store) -> Result<ViewRows, StorageError> {
        self.backend.rows(store.view()).await
    }

    async fn read(
        &self,
        store: &Self::Store,
        streams: &[StreamName],
    ) -> Result<(Vec<StreamPosition<ViewSequenceOf<Self>>>, ViewRows), StorageError> {
        self.backend.read(store.view(), streams).await
    }

    async fn interrupt(&self, place: &Self::Location) -> BoxFuture<'static, ()> {
        self.backend.interrupt(place).await
    }
}

type Faults<B> = ViewTrial<FaultyViewBackend<B>>;

/// After an error, positions tell whether the batch was applied, and so do the rows; a worker who goes by them applies every
/// commit once.
pub async fn positions_tell_what_became_of_an_error<B: ViewBackend>(on: &Faults<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", (0..60).map(|at| 1 + at % 3));
    let stream = [named("a")];
    let mut next = 0;
    while next < chain.len() {
        let answer = view.apply(vec![run::<FaultyViewBackend<B>>(&chain, next..next + 1)]).await;
        let (places, rows) = view.read(&stream).await?;
        let applied = chain.iter().take_while(|commit| Some(commit.last()) <= places[0].position).count();
        match answer {
            Ok(Applied::Done) => ensure_eq!(applied, next + 1, "commits by position after `Done`"),
            Ok(other) => {
                return Err(Violation::new(format!("a batch right after the position came to {other:?}")));
            }
            Err(error) => {
                may_be_tried_again(&error)?;
                let told = applied == next || applied == next + 1;
                ensure!(told, "{applied} commits by position after an error on commit {next}");
            }
        }
        same_rows(&rows, &rows_of::<FaultyViewBackend<B>>(&[&chain[..applied]]))?;
        next = applied;
    }
    leaves(&view, &[chain]).await
}

/// Racing workers whose calls fail go by positions, and apply every commit once.
pub async fn racing_workers_whose_calls_fail_apply_every_commit_once<B: ViewBackend>(
    on: &Faults<B>,
) -> RuleResult {
    let chains: Arc<Vec<_>> = Arc::new(
        (0..8).map(|stream| on.chain(&*format!("{stream}"), (0..12).map(|at| 1 + at % 2))).collect(),
    );
    let mut workers = Vec::new();
    for worker in 0..4 {
        let (view, chains) = (on.open().await, Arc::clone(&chains));
        workers.push(async move { work(&view, &chains, worker).await });
    }
    together(workers).await?.into_iter().collect::<RuleResult>()?;
    leaves(&on.open().await, &chains).await
}

/// Quarantines and decisions whose calls fail are tried again, and come out once.
pub async fn decisions_whose_calls_fail_are_recorded_once<B: ViewBackend>(on: &Faults<B>) -> RuleResult {
    let view = on.open().await;
    let chain = on.chain("a", [1; 20]);
    for index in 0..chain.len() {
        let (poison, skip) = (on.poison(&chain, index), on.skip(&chain, index));
        again(|| view.store().quarantine(&poison)).await?;
        let found = view.store().view().quarantined().await?;
        ensure_eq!(found, [poison], "what is in quarantine");
        // True, or false because a call that failed has done it.
        again(|| view.store().skip(&skip)).await?;
        let found = view.store().view().skipped().await?;
        ensure_eq!(found.len(), index + 1, "decisions recorded");
        ensure_eq!(found.last(), Some(&skip), "the last decision recorded");
        ensure_eq!(view.store().view().quarantined().await?, [], "what is in quarantine after a skip");
    }
    Ok(())
}

/// Calls until there is an answer.
async fn again<T, R: Future<Output = Result<T, StorageError>>>(call: impl Fn() -> R) -> Result<T, Violation> {
    for _ in 0..1_000 {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) => may_be_tried_again(&error)?,
        }
    }
    Err(Violation::new("a call failed 1,000 times"))
}

/// Expects the view to be made of just these commits, as read without faults.
async fn leaves<B: ViewBackend>(
    view: &ViewHandle<FaultyViewBackend<B>>,
    chains: &[Vec<super::ViewCommitOf<FaultyViewBackend<B>>>],
) -> RuleResult {
    same_rows(
        &view.rows().await?,
        &rows_of::<FaultyViewBackend<B>>(&slices::<FaultyViewBackend<B>>(chains)),
    )?;
    let positions = view.store().view().positions(None, 1_000_000).await?;
    let mut expected: Vec<_> =
        chains.iter().filter_map(|chain| Some((named(&chain[0].key), chain.last()?.last()))).collect();
    expected.sort();
    ensure_eq!(positions, expected, "the positions");
    Ok(())
}
