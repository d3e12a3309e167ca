//! Lends a connection to a user's code, and keeps the code from more than its own tables.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventsrc_core::backend::error_from_panic;
use eventsrc_core::view::ViewError;
use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::failure::Failure;
use crate::layout;

/// A connection that can be lent.
///
/// While it is lent, nothing can be committed through it, whatever the code does; and what the code must not do is
/// refused as its statements are prepared.
pub(crate) struct Guarded {
    connection: Connection,
    watch: Arc<Watch>,
}

#[derive(Default)]
struct Watch {
    /// Whether the code may only read.
    reads: bool,
    /// Whether a user's code has the connection.
    lent: AtomicBool,
    /// Whether the transaction was rolled back meanwhile.
    ended: AtomicBool,
    /// The first thing that the code was kept from.
    forbidden: Mutex<Option<&'static str>>,
}

/// The savepoint of what may have to be undone by itself.
const SAVEPOINT: &str = "eventsrc_work";

impl Guarded {
    /// A connection through which a user's code may write.
    pub(crate) fn writing(connection: Connection) -> rusqlite::Result<Self> {
        Self::new(connection, Watch::default())
    }

    /// A connection through which a user's code may only read.
    pub(crate) fn reading(connection: Connection) -> rusqlite::Result<Self> {
        Self::new(connection, Watch { reads: true, ..Watch::default() })
    }

    fn new(mut connection: Connection, watch: Watch) -> rusqlite::Result<Self> {
        let watch = Arc::new(watch);
        let hook = Arc::clone(&watch);
        connection.authorizer(Some(move |context: AuthContext<'_>| hook.authorize(&context.action)))?;
        let hook = Arc::clone(&watch);
        connection.commit_hook(Some(move || hook.lent() && hook.forbid(END).is_some()))?;
        let hook = Arc::clone(&watch);
        connection.rollback_hook(Some(move || {
            if hook.lent() {
                hook.ended.store(true, Ordering::Relaxed);
            }
        }))?;
        Ok(Self { connection, watch })
    }

    /// Lends the connection to `code`. A panic of code that writes is an error, and so is anything that the code must not do,
    /// and the end of the transaction, even if the code makes nothing of it.
    pub(crate) fn lend<T>(
        &self,
        code: impl FnOnce(&Connection) -> Result<T, ViewError>,
    ) -> Result<T, ViewError> {
        self.watch.forbidden().take();
        self.watch.ended.store(false, Ordering::Relaxed);
        self.watch.lent.store(true, Ordering::Relaxed);
        let outcome = catch_unwind(AssertUnwindSafe(|| code(&self.connection)));
        self.watch.lent.store(false, Ordering::Relaxed);
        if let Some(what) = *self.watch.forbidden() {
            let who = if self.watch.reads { "a query" } else { "the code of a view" };
            return Err(format!("{who} must not {what}").into());
        }
        match outcome {
            Ok(Ok(_)) if self.has_ended() => Err(KEPT_TO_ITSELF.into()),
            Ok(outcome) => outcome,
            // Whoever asks is told by a panic, too.
            Err(panic) if self.watch.reads => resume_unwind(panic),
            Err(panic) => Err(error_from_panic(&*panic)),
        }
    }

    /// Whether the transaction was rolled back while the connection was lent; asking forgets it.
    pub(crate) fn take_ended(&self) -> bool {
        self.watch.ended.swap(false, Ordering::Relaxed)
    }

    /// Whether the transaction was rolled back while the connection was lent.
    pub(crate) fn has_ended(&self) -> bool {
        self.watch.ended.load(Ordering::Relaxed)
    }

    /// Has all reads see one state of the file, until what is returned is dropped.
    pub(crate) fn one_state(&self) -> Result<OneState<'_>, Failure> {
        let begin = self.prepare_cached("BEGIN").and_then(|mut begin| begin.execute([]));
        begin.map_err(|error| Failure::new("cannot read", error))?;
        Ok(OneState(self))
    }

    /// Does `work`, and undoes it unless it comes to `true`. After a failure, and where the transaction has ended, the
    /// caller rolls back anyway.
    pub(crate) fn nested(&self, work: impl FnOnce() -> Result<bool, Failure>) -> Result<bool, Failure> {
        let run = |sql: &str| self.prepare_cached(sql)?.execute([]);
        let broken = |error| Failure::new("cannot write", error);
        run(&format!("SAVEPOINT {SAVEPOINT}")).map_err(broken)?;
        let keep = work()?;
        if self.has_ended() {
            return Ok(keep);
        }
        if !keep {
            run(&format!("ROLLBACK TO {SAVEPOINT}")).map_err(broken)?;
        }
        run(&format!("RELEASE {SAVEPOINT}")).map_err(broken)?;
        Ok(keep)
    }
}

/// A transaction that only reads.
pub(crate) struct OneState<'a>(&'a Guarded);

impl Drop for OneState<'_> {
    fn drop(&mut self) {
        // What cannot be ended has ended.
        let _ = self.0.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([]));
    }
}

impl Deref for Guarded {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

const END: &str = "begin or end a transaction";

/// Whatever it was, the code took it for success.
const KEPT_TO_ITSELF: &str = "the transaction was rolled back by an error that the code kept to itself";

impl Watch {
    fn lent(&self) -> bool {
        self.lent.load(Ordering::Relaxed)
    }

    fn forbidden(&self) -> MutexGuard<'_, Option<&'static str>> {
        self.forbidden.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forbid(&self, what: &'static str) -> Option<&'static str> {
        Some(*self.forbidden().get_or_insert(what))
    }

    fn authorize(&self, action: &AuthAction<'_>) -> Authorization {
        if !self.lent() {
            return Authorization::Allow;
        }
        match self.offence(action) {
            None => Authorization::Allow,
            Some(what) => {
                self.forbid(what);
                Authorization::Deny
            }
        }
    }

    /// What a user's code would do that it must not.
    fn offence(&self, action: &AuthAction<'_>) -> Option<&'static str> {
        match *action {
            AuthAction::Select
            | AuthAction::Read { .. }
            | AuthAction::Function { .. }
            | AuthAction::Recursive
            | AuthAction::Pragma { pragma_value: None, .. } => None,
            AuthAction::Pragma { pragma_name, .. } if is_question(pragma_name) => None,
            AuthAction::Pragma { .. } => Some("change the settings of the connection"),
            AuthAction::Transaction { .. } | AuthAction::Savepoint { savepoint_name: SAVEPOINT, .. } => {
                Some(END)
            }
            AuthAction::Attach { .. } | AuthAction::Detach { .. } => Some("attach or detach a file"),
            _ if self.reads => Some("write"),
            AuthAction::Insert { table_name }
            | AuthAction::Update { table_name, .. }
            | AuthAction::Delete { table_name }
            | AuthAction::AlterTable { table_name, .. }
            | AuthAction::DropTable { table_name }
            | AuthAction::CreateIndex { table_name, .. }
            | AuthAction::DropIndex { table_name, .. }
            | AuthAction::CreateTrigger { table_name, .. }
            | AuthAction::CreateTempTrigger { table_name, .. }
                if layout::is_ours(table_name) =>
            {
                Some("change the tables of events, snapshots and positions")
            }
            _ => None,
        }
    }
}

/// Whether a pragma takes a value and changes nothing.
fn is_question(pragma: &str) -> bool {
    ["table_", "index_", "foreign_key_"].iter().any(|family| pragma.starts_with(family))
}
