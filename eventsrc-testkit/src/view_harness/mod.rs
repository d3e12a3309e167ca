//! A harness for views: whatever happens around a view, its rows have to come out as if its events had been applied one by
//! one, each once and in order.
//!
//! [`ViewHarness::check`] first applies the events so, to a new view: that is the *plain fold*. Then it keeps new views up to
//! date with [`Synchronizer`](eventsrc_core::Synchronizer)s under one [`Schedule`] after the other, each expanded from a
//! seed: changes that come again, in another order and not at all, processes that crash at each step, several that race,
//! a database that fails. The rows are compared with those of the plain fold.
//!
//! It finds code that is not a function of its events: that looks at a clock, draws lots or counts in a variable; that
//! remembers something outside of the transaction; whose rows depend on the order in which streams are applied, though
//! streams have no order.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use eventsrc_core::{Event, StreamName, ViewDefinition};
//! use eventsrc_core::view::MemoryView;
//! use eventsrc_testkit::view_harness::ViewHarness;
//!
//! type Totals = BTreeMap<String, u64>;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let harness = ViewHarness::new(
//!     // A new view without rows: with a database, in a new file or schema.
//!     async || {
//!         let definition = ViewDefinition::new("totals", ["account"]).expect("the name is well-formed");
//!         MemoryView::new(definition, |totals: &mut Totals, event: Event<'_, StreamName, u64, u64>| {
//!             *totals.entry(event.key().to_string()).or_default() += event.payload;
//!             Ok(())
//!         })
//!     },
//!     // Its rows, in an order of their own.
//!     async |view| view.read(&[], Totals::clone).1,
//! );
//!
//! let account = |id| StreamName::new("account", id).expect("the name is well-formed");
//! let commits = [(account("ada"), vec![40]), (account("bob"), vec![1, 2]), (account("ada"), vec![2])];
//! let checked = harness.check(commits).await.unwrap();
//! assert!(checked.crashes > 0 && checked.repeated > 0 && checked.lost > 0);
//! # }
//! ```
//!
//! A failure names the seed, what was done under it, and how the rows differ. `seeds([17])` runs that schedule again; on
//! a runtime of one thread it is the same run.
//!
//! What it cannot do is roll a transaction back after the view's code has run: that is the database's doing.

mod crashing;
mod finding;
mod run;
mod schedule;
mod script;

use std::fmt::Debug;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::clock::Randomness;
use eventsrc_core::commit::Vec1;
use eventsrc_core::stream::Zone;
use eventsrc_core::view::{Applied, Batch, CommitRun, ViewStore};
use eventsrc_core::{Commit, Metadata, Sequence, StreamName, Timestamp};
use futures::FutureExt;
use futures::future::LocalBoxFuture;

pub use finding::Finding;
pub use schedule::{Disturbance, Schedule};

use crate::HANG;
use finding::diff;

/// Checks one kind of view. See the [module](self).
pub struct ViewHarness<'a, V, R> {
    fresh: Box<dyn Fn() -> LocalBoxFuture<'a, V> + 'a>,
    rows: Box<dyn Fn(Arc<V>) -> LocalBoxFuture<'a, R> + 'a>,
    reopen: Option<Box<dyn Fn(Arc<V>) -> LocalBoxFuture<'a, V> + 'a>>,
    seeds: Vec<u64>,
    limit: Duration,
}

/// What views went through and came out of right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Schedules.
    pub schedules: usize,
    /// Processes that crashed.
    pub crashes: usize,
    /// Processes that raced with another one.
    pub racing: usize,
    /// Changes that came again.
    pub repeated: u64,
    /// Changes that came after later ones.
    pub reordered: u64,
    /// Changes that were lost.
    pub lost: u64,
    /// Calls of the view's database that failed, or whose reply was lost.
    pub failed: u64,
}

pub(crate) type CommitOf<V> =
    Arc<Commit<<V as ViewStore>::Key, <V as ViewStore>::Sequence, <V as ViewStore>::Payload>>;

impl<'a, V: ViewStore, R: PartialEq + Debug> ViewHarness<'a, V, R> {
    /// Checks the views that `fresh` makes, each without rows and apart from all others, by the rows that `rows` reads.
    ///
    /// Rows are compared as they are given: read them in an order of their own, and leave out what is meant to differ,
    /// such as a number that the database gave.
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

    /// Opens a view anew with `reopen`, as a process that starts after a crash does, and one that races; otherwise they share
    /// the handle. It is how a view that remembers something outside of its rows is found out.
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

    /// Runs the schedules of these seeds, instead of those from 0 to 26. Seeds one after the other have other
    /// [`Disturbance`]s.
    #[must_use]
    pub fn seeds(mut self, seeds: impl IntoIterator<Item = u64>) -> Self {
        self.seeds = seeds.into_iter().collect();
        self
    }

    /// Takes a schedule that does not end within `limit` for a failure; ten minutes, unless it is said. The limit only ends a
    /// hang: a shorter one is for a view that is known to hang.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Checks the view with these commits: of each its stream and its events, in the order in which they were made. Streams
    /// that the view does not follow may be among them.
    ///
    /// # Errors
    ///
    /// The first [`Finding`], whose text tells all there is to know.
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

    /// The rows of a new view to which each commit was applied by itself, in the order in which they were made.
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

/// The commits of streams that the view follows.
fn followed<'c, V: ViewStore>(
    view: &'c V,
    commits: &'c [CommitOf<V>],
) -> impl Iterator<Item = &'c CommitOf<V>> {
    let definition = view.definition();
    commits.iter().filter(|commit| definition.follows(named(commit).category()))
}

fn named<K: eventsrc_core::StreamKey, S, E>(commit: &Commit<K, S, E>) -> StreamName {
    StreamName::of(&commit.key).expect("a key names a stream")
}

/// The commits as they would be stored, a second after the other.
fn commits_of<V: ViewStore>(
    commits: impl IntoIterator<Item = (V::Key, Vec<V::Payload>)>,
) -> Vec<CommitOf<V>> {
    let ids = Randomness::seeded(0);
    let mut heads = std::collections::HashMap::new();
    let commit = |(second, (key, payloads)): (i64, (V::Key, Vec<V::Payload>))| {
        let latest = heads.get(&key).copied();
        let time =
            Timestamp::from_second(1_767_225_600 + second).expect("a time of this century is in range");
        let commit = Commit {
            first: V::Sequence::following(latest, Zone::default()).expect("the stream is not full"),
            time,
            metadata: Metadata::new(ids.commit_id(time)),
            payloads: Vec1::try_from_vec(payloads).unwrap_or_else(|_| panic!("a commit has an event")),
            key: key.clone(),
        };
        heads.insert(key, commit.last());
        Arc::new(commit)
    };
    (0..).zip(commits).map(commit).collect()
}
