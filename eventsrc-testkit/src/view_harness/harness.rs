//! The harness: settings and the checks that it runs.

use std::fmt::Debug;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::view::{Applied, Batch, CommitRun, ViewStore};
use futures::FutureExt;
use futures::future::LocalBoxFuture;

use super::checked::Checked;
use super::commits::{CommitOf, commits_of, followed, named};
use super::finding::{Finding, diff};
use super::schedule::Schedule;
use crate::limits::HANG;

/// Checks one kind of view. See [`view_harness`](crate::view_harness).
pub struct ViewHarness<'a, V, R> {
    pub(super) fresh: Box<dyn Fn() -> LocalBoxFuture<'a, V> + 'a>,
    pub(super) rows: Box<dyn Fn(Arc<V>) -> LocalBoxFuture<'a, R> + 'a>,
    pub(super) reopen: Option<Box<dyn Fn(Arc<V>) -> LocalBoxFuture<'a, V> + 'a>>,
    seeds: Vec<u64>,
    limit: Duration,
}

impl<'a, V: ViewStore, R: PartialEq + Debug> ViewHarness<'a, V, R> {
    /// Creates a harness for the views that `fresh` makes. Each must be without rows and separate from all others.
    /// `rows` reads the rows that are compared.
    ///
    /// Rows are compared as they are returned. Return them in a defined order, and omit values that may differ, such
    /// as numbers that the database assigns.
    pub fn new(fresh: impl AsyncFn() -> V + 'a, rows: impl AsyncFn(&V) -> R + 'a) -> Self
    where
        V: 'a,
        R: 'a,
    {
        let (fresh, rows) = (Rc::new(fresh), Rc::new(rows));
        Self {
            fresh: Box::new(move || {
                let fresh = Rc::clone(&fresh);
                async move { fresh().await }.boxed_local()
            }),
            rows: Box::new(move |view| {
                let rows = Rc::clone(&rows);
                async move { rows(&view).await }.boxed_local()
            }),
            reopen: None,
            seeds: (0..27).collect(),
            limit: HANG,
        }
    }

    /// Opens a view again with `reopen` for a process that starts after a crash, and for a process that races.
    /// Without `reopen`, these processes share one handle. With it, the harness finds views that keep state outside of
    /// their rows.
    #[must_use]
    pub fn reopening(mut self, reopen: impl AsyncFn(&V) -> V + 'a) -> Self
    where
        V: 'a,
    {
        let reopen = Rc::new(reopen);
        self.reopen = Some(Box::new(move |view| {
            let reopen = Rc::clone(&reopen);
            async move { reopen(&view).await }.boxed_local()
        }));
        self
    }

    /// Sets the seeds of the schedules. Default: 0 to 26. Consecutive seeds have different
    /// [`Disturbance`](super::schedule::Disturbance)s.
    #[must_use]
    pub fn seeds(mut self, seeds: impl IntoIterator<Item = u64>) -> Self {
        self.seeds = seeds.into_iter().collect();
        self
    }

    /// Sets the time limit of one schedule. A schedule that exceeds it is a failure. Default: 10 minutes.
    ///
    /// The limit only ends a schedule that hangs. Set a shorter one for a view that is known to hang.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Checks the view with these commits: the stream and the events of each, in the order in which they were
    /// written. Commits of streams that the view does not follow may be among them.
    ///
    /// # Errors
    ///
    /// The first [`Finding`]. Its text has all details.
    ///
    /// # Panics
    ///
    /// If a commit has no events, or a key names no stream.
    pub async fn check(
        &self,
        commits: impl IntoIterator<Item = (V::Key, Vec<V::Payload>)>,
    ) -> Result<Checked, Finding> {
        let commits = commits_of::<V>(commits);
        let expected = self.plain_fold(&commits).await?;
        let again = self.plain_fold(&commits).await?;
        if expected != again {
            return Err(Finding::NotAFunction { diff: diff(&expected, &again) });
        }
        let mut checked = Checked::default();
        for &seed in &self.seeds {
            let schedule = Schedule::of(seed);
            let found =
                match tokio::time::timeout(self.limit, self.run(&schedule, &commits, &mut checked)).await {
                    Ok(found) => found?,
                    Err(_) => return Err(Finding::Stuck { schedule, limit: self.limit }),
                };
            if expected != found {
                return Err(Finding::Rows { schedule, diff: diff(&expected, &found) });
            }
            checked.schedules += 1;
        }
        Ok(checked)
    }

    /// Applies each commit on its own to a new view, in order, and returns the rows.
    async fn plain_fold(&self, commits: &[CommitOf<V>]) -> Result<R, Finding> {
        let view = Arc::new((self.fresh)().await);
        for commit in followed(&*view, commits) {
            let stream = named(commit);
            let failed = |source| Finding::Failed { doing: "the plain fold", source };
            let from = view.positions_of(std::slice::from_ref(&stream)).await.map_err(failed)?[0].position;
            let run = CommitRun { stream: stream.clone(), from, commits: vec![Arc::clone(commit)] };
            match view.apply(&Batch::new(vec![run])).await.map_err(failed)? {
                Applied::Done => {}
                other => {
                    let sequence = commit.first.to_string();
                    return Err(Finding::Refused { stream, sequence, answer: format!("{other:?}") });
                }
            }
        }
        Ok((self.rows)(view).await)
    }
}
