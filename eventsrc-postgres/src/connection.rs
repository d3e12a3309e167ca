//! A pooled connection, and what becomes of it if its caller is gone before the server has answered.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::Object;
use tokio::runtime::Handle;
use tokio_postgres::{CancelToken, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::settings::Settings;
use crate::silence::{Silence, unless_silent, within};

/// Time in which the server has to answer after the caller is gone; then the statement is cancelled.
const GRACE: Duration = Duration::from_millis(100);

/// A pooled connection.
///
/// It returns to its pool when it is dropped. If it is dropped while it waits for an answer, it returns only if the answer
/// arrives soon. Otherwise the server is requested to cancel the statement, and the connection is closed. So no later
/// caller waits for the statement of an earlier one.
pub(crate) struct Connection {
    /// `None` only while it is dropped.
    object: Option<Object>,
    /// True while a caller waits for an answer.
    is_busy: AtomicBool,
    limits: Arc<Limits>,
}

/// Limits of waiting for the server, and the encryption of connections to it.
pub(crate) struct Limits {
    tls: Option<MakeRustlsConnect>,
    connect: Duration,
    answer: Duration,
}

impl Limits {
    pub(crate) fn new(tls: Option<&MakeRustlsConnect>, settings: &Settings) -> Self {
        Self { tls: tls.cloned(), connect: settings.connect_timeout, answer: settings.answer_timeout }
    }

    /// Returns the connection to its pool if it answers soon, and otherwise closes it and cancels its statement.
    async fn reclaim(self: Arc<Self>, abandoned: Abandoned) {
        // The server answers an empty statement after all that were sent before it.
        if let Some(Ok(())) = within(GRACE, abandoned.client().batch_execute("")).await {
            return abandoned.release();
        }
        let token = abandoned.client().cancel_token();
        drop(abandoned);
        // A request that fails has no effect: the session ends when the server finds its connection closed.
        let _ = within(self.connect, self.cancel(&token)).await;
    }

    async fn cancel(&self, token: &CancelToken) -> Result<(), tokio_postgres::Error> {
        match &self.tls {
            Some(tls) => token.cancel_query(tls.clone()).await,
            None => token.cancel_query(NoTls).await,
        }
    }
}

impl Connection {
    pub(crate) fn new(object: Object, limits: Arc<Limits>) -> Self {
        Self { object: Some(object), is_busy: AtomicBool::new(false), limits }
    }

    /// Waits for `answer`, which the statements of a call on this connection give, unless the server is silent for too
    /// long. After a silence, and if the call is dropped before the answer, the connection counts as busy when it is
    /// dropped.
    pub(crate) async fn answer<T>(&self, answer: impl Future<Output = T>) -> Result<T, Silence> {
        self.is_busy.store(true, Ordering::Relaxed);
        let answer = unless_silent(self.limits.answer, answer).await?;
        self.is_busy.store(false, Ordering::Relaxed);
        Ok(answer)
    }

    /// As [`answer`](Connection::answer), for a call whose statements may take any time.
    pub(crate) async fn answer_at_any_time<T>(&self, answer: impl Future<Output = T>) -> T {
        self.is_busy.store(true, Ordering::Relaxed);
        let answer = answer.await;
        self.is_busy.store(false, Ordering::Relaxed);
        answer
    }

    /// As [`answer`](Connection::answer), for a call that needs the connection exclusively.
    pub(crate) async fn answer_to<T>(
        &mut self,
        call: impl AsyncFnOnce(&mut Object) -> T,
    ) -> Result<T, Silence> {
        *self.is_busy.get_mut() = true;
        let limit = self.limits.answer;
        let answer = unless_silent(limit, call(self)).await?;
        *self.is_busy.get_mut() = false;
        Ok(answer)
    }

    /// True if the connection was idle in its pool before this caller.
    pub(crate) fn was_idle(&self) -> bool {
        Object::metrics(self).recycle_count > 0
    }

    /// Clears the caches of prepared statements of all connections of the pool.
    pub(crate) fn clear_statement_caches(&self) {
        if let Some(pool) = Object::pool(self) {
            pool.manager().statement_caches.clear();
        }
    }
}

const PRESENT: &str = "a connection is present until it is dropped";

impl Deref for Connection {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.object.as_ref().expect(PRESENT)
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Object {
        self.object.as_mut().expect(PRESENT)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        if !*self.is_busy.get_mut() {
            return drop(object);
        }
        let abandoned = Abandoned(Some(object));
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(Arc::clone(&self.limits).reclaim(abandoned));
        }
    }
}

/// Connection whose caller is gone. It is closed on drop, unless it is released.
struct Abandoned(Option<Object>);

impl Abandoned {
    fn client(&self) -> &Object {
        self.0.as_ref().expect(PRESENT)
    }

    /// Returns the connection to its pool.
    fn release(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}
