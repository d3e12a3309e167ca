//! Lending of a connection to code of the application, restricted to the tables of that code.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventsrc_core::backend::error_from_panic;
use eventsrc_core::view::ViewError;
use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::closing::Closing;
use crate::failure::Failure;
use crate::layout;

/// A connection that can be lent to code of the application: the code of a view, or a query.
///
/// While it is lent, nothing can commit through it. SQLite's authorizer refuses forbidden statements when they are
/// prepared.
pub(crate) struct Guarded {
    connection: Connection,
    loan: Arc<Loan>,
    closing: Arc<Closing>,
}

/// State that the connection shares with its hooks.
#[derive(Default)]
struct Loan {
    /// True if the code may only read.
    read_only: bool,
    /// True while the connection is lent.
    is_lent: AtomicBool,
    /// True if the transaction was rolled back while the connection was lent.
    rolled_back: AtomicBool,
    /// The first forbidden action that the code tried.
    forbidden: Mutex<Option<&'static str>>,
}

/// Savepoint of writes that may be rolled back alone.
const SAVEPOINT: &str = "eventsrc_work";

/// Description of forbidden actions on transactions.
const TRANSACTION: &str = "begin or end a transaction";

impl Guarded {
    /// A connection through which lent code may write.
    pub(crate) fn writing(connection: Connection, closing: Arc<Closing>) -> rusqlite::Result<Self> {
        Self::new(connection, Loan::default(), closing)
    }

    /// A connection through which lent code may only read.
    pub(crate) fn reading(connection: Connection, closing: Arc<Closing>) -> rusqlite::Result<Self> {
        Self::new(connection, Loan { read_only: true, ..Loan::default() }, closing)
    }

    fn new(mut connection: Connection, loan: Loan, closing: Arc<Closing>) -> rusqlite::Result<Self> {
        let loan = Arc::new(loan);
        let hook = Arc::clone(&loan);
        connection.authorizer(Some(move |context: AuthContext<'_>| hook.authorize(&context.action)))?;
        let hook = Arc::clone(&loan);
        connection.commit_hook(Some(move || hook.is_lent() && hook.forbid(TRANSACTION).is_some()))?;
        let hook = Arc::clone(&loan);
        connection.rollback_hook(Some(move || {
            if hook.is_lent() {
                hook.rolled_back.store(true, Ordering::Relaxed);
            }
        }))?;
        Ok(Self { connection, loan, closing })
    }

    /// Lends the connection to `code`.
    ///
    /// A forbidden action is an error, even if `code` returns `Ok`, and so is the end of the transaction. A panic of a view's
    /// code is an error. A panic of a query resumes.
    pub(crate) fn lend<T>(
        &self,
        code: impl FnOnce(&Connection) -> Result<T, ViewError>,
    ) -> Result<T, ViewError> {
        self.loan.forbidden().take();
        self.loan.rolled_back.store(false, Ordering::Relaxed);
        self.loan.is_lent.store(true, Ordering::Relaxed);
        let in_code = self.closing.enter_code();
        let outcome = catch_unwind(AssertUnwindSafe(|| code(&self.connection)));
        drop(in_code);
        self.loan.is_lent.store(false, Ordering::Relaxed);
        if let Some(what) = *self.loan.forbidden() {
            let who = if self.loan.read_only { "a query" } else { "the code of a view" };
            return Err(format!("{who} must not {what}").into());
        }
        match outcome {
            Ok(Ok(_)) if self.was_rolled_back() => {
                Err("the transaction was rolled back by an error that the code did not return".into())
            }
            Ok(outcome) => outcome,
            Err(panic) if self.loan.read_only => resume_unwind(panic),
            Err(panic) => Err(error_from_panic(&*panic)),
        }
    }

    /// True if the transaction was rolled back while the connection was lent. Resets the answer to false.
    pub(crate) fn take_rolled_back(&self) -> bool {
        self.loan.rolled_back.swap(false, Ordering::Relaxed)
    }

    /// True if the transaction was rolled back while the connection was lent.
    pub(crate) fn was_rolled_back(&self) -> bool {
        self.loan.rolled_back.load(Ordering::Relaxed)
    }

    /// Begins a transaction in which all reads see one state of the file.
    pub(crate) fn read_transaction(&self) -> Result<ReadTransaction<'_>, Failure> {
        let begin = self.prepare_cached("BEGIN").and_then(|mut begin| begin.execute([]));
        begin.map_err(|error| Failure::new("cannot read", error))?;
        Ok(ReadTransaction(self))
    }

    /// Runs `work` in a savepoint, and rolls its writes back if it returns false. After an error, and if the transaction
    /// was rolled back, the savepoint stays, and the caller rolls the transaction back.
    pub(crate) fn in_savepoint(&self, work: impl FnOnce() -> Result<bool, Failure>) -> Result<bool, Failure> {
        let run = |sql: &str| self.prepare_cached(sql)?.execute([]);
        let failure = |error| Failure::new("cannot write", error);
        run(&format!("SAVEPOINT {SAVEPOINT}")).map_err(failure)?;
        let stays = work()?;
        if self.was_rolled_back() {
            return Ok(stays);
        }
        if !stays {
            run(&format!("ROLLBACK TO {SAVEPOINT}")).map_err(failure)?;
        }
        run(&format!("RELEASE {SAVEPOINT}")).map_err(failure)?;
        Ok(stays)
    }
}

/// A transaction that only reads. It ends when this is dropped.
pub(crate) struct ReadTransaction<'a>(&'a Guarded);

impl Drop for ReadTransaction<'_> {
    fn drop(&mut self) {
        // A rollback fails if the transaction has ended already, or if the read was cancelled. The reader thread ends it then.
        let _ = self.0.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([]));
    }
}

impl Deref for Guarded {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Loan {
    fn is_lent(&self) -> bool {
        self.is_lent.load(Ordering::Relaxed)
    }

    fn forbidden(&self) -> MutexGuard<'_, Option<&'static str>> {
        self.forbidden.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a forbidden action, and returns the first one.
    fn forbid(&self, what: &'static str) -> Option<&'static str> {
        Some(*self.forbidden().get_or_insert(what))
    }

    fn authorize(&self, action: &AuthAction<'_>) -> Authorization {
        if !self.is_lent() {
            return Authorization::Allow;
        }
        match self.violation(action) {
            None => Authorization::Allow,
            Some(what) => {
                self.forbid(what);
                Authorization::Deny
            }
        }
    }

    /// Description of an action that lent code must not do. `None` if it is allowed.
    fn violation(&self, action: &AuthAction<'_>) -> Option<&'static str> {
        match *action {
            AuthAction::Select
            | AuthAction::Read { .. }
            | AuthAction::Function { .. }
            | AuthAction::Recursive
            | AuthAction::Pragma { pragma_value: None, .. } => None,
            AuthAction::Pragma { pragma_name, .. } if is_query_pragma(pragma_name) => None,
            AuthAction::Pragma { .. } => Some("change the settings of the connection"),
            AuthAction::Transaction { .. } | AuthAction::Savepoint { savepoint_name: SAVEPOINT, .. } => {
                Some(TRANSACTION)
            }
            AuthAction::Attach { .. } | AuthAction::Detach { .. } => Some("attach or detach a file"),
            _ if self.read_only => Some("write"),
            AuthAction::Insert { table_name }
            | AuthAction::Update { table_name, .. }
            | AuthAction::Delete { table_name }
            | AuthAction::AlterTable { table_name, .. }
            | AuthAction::DropTable { table_name }
            | AuthAction::CreateIndex { table_name, .. }
            | AuthAction::DropIndex { table_name, .. }
            | AuthAction::CreateTrigger { table_name, .. }
            | AuthAction::CreateTempTrigger { table_name, .. }
                if layout::is_own_table(table_name) =>
            {
                Some("change the tables of events, snapshots and positions")
            }
            _ => None,
        }
    }
}

/// True if a pragma takes an argument and changes nothing.
fn is_query_pragma(pragma: &str) -> bool {
    ["table_", "index_", "foreign_key_"].iter().any(|family| pragma.starts_with(family))
}
