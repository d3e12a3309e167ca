//! Settings of a Postgres database.

use std::fmt;
use std::time::Duration;

/// Settings of a [`Postgres`](crate::Postgres).
///
/// A commit is always durable before it is acknowledged: if the server's settings turn `synchronous_commit` off, each
/// session turns it on again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Schema of the tables of eventsrc; it must hold nothing else. Created if it does not exist. Default: `eventsrc`.
    pub schema: String,
    /// Encryption of connections. Default: [`Tls::Verified`].
    pub tls: Tls,
    /// Size of the connection pool for reads, and of the one for views, at least 1. Default: 8.
    ///
    /// Puts have a pool of their own, with one connection for each of `groups_in_flight`, so that no reader delays a
    /// commit.
    pub connections: usize,
    /// Longest wait for a new or an idle connection; then the call fails with `Unavailable`. Default: 5 s.
    pub connect_timeout: Duration,
    /// Longest duration of one statement; then it fails with `Unavailable`. `None` for no limit. Default: 30 s.
    pub statement_timeout: Option<Duration>,
    /// Longest wait of this client for the answer to one statement; then the connection is closed, and the call fails with
    /// `Unavailable`. A put whose answer is not awaited any longer may or may not be stored. Default: 35 s.
    ///
    /// It limits the wait for a server or a network that is silent, so it should be longer than `statement_timeout`; it
    /// also limits statements without a `statement_timeout`. The code of a view must not wait longer than this for anything
    /// else either.
    pub answer_timeout: Duration,
    /// Longest time that a transaction may wait for its next statement; then the server ends it. `None` for no limit.
    /// Default: 10 s.
    ///
    /// Without a limit, a process that is suspended in the middle of a batch blocks the streams of that batch for all
    /// other workers.
    pub idle_in_transaction_timeout: Option<Duration>,
    /// Largest number of commits in a page, at least 1. Default: 1,000.
    pub commits_per_page: usize,
    /// Size in bytes of payloads and metadata after which a page ends; a commit is never split. Default: 1 MiB.
    pub bytes_per_page: usize,
    /// Largest number of groups of commits that are sent at the same time, at least 1. Default: 2.
    pub groups_in_flight: usize,
    /// Largest number of commits in a group, at least 1. Default: 512.
    pub commits_per_group: usize,
    /// Size in bytes of payloads and metadata after which a group ends; a larger commit forms a group of its own.
    /// Default: 4 MiB.
    pub bytes_per_group: usize,
    /// Largest number of commits that wait to be sent; a put beyond it fails at once with `Overloaded`, and stores nothing.
    /// Default: 16,384.
    pub waiting_commits: usize,
    /// Largest size in bytes of payloads and metadata of the commits that wait to be sent; a put beyond it fails at once
    /// with `Overloaded`, and stores nothing. A commit that is larger is accepted if no other waits. Default: 64 MiB.
    pub waiting_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            schema: "eventsrc".into(),
            tls: Tls::Verified,
            connections: 8,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Some(Duration::from_secs(30)),
            answer_timeout: Duration::from_secs(35),
            idle_in_transaction_timeout: Some(Duration::from_secs(10)),
            commits_per_page: 1_000,
            bytes_per_page: 1 << 20,
            groups_in_flight: 2,
            commits_per_group: 512,
            bytes_per_group: 4 << 20,
            waiting_commits: 16_384,
            waiting_bytes: 64 << 20,
        }
    }
}

/// Encryption of connections.
///
/// An address is local if it is a Unix socket, a loopback address or `localhost`. The `sslmode` of the address can only
/// make a connection safer: `require`, `verify-ca` and `verify-full` encrypt a local connection too, and verify the
/// certificate. `disable` with a remote host is refused unless the program sets [`Tls::Disabled`] as well. An address is
/// copied too easily to decide alone that passwords and events are sent unencrypted.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tls {
    /// TLS unless the address is local. The certificate must be issued by an authority that the system trusts.
    #[default]
    Verified,
    /// TLS unless the address is local. The certificate must be issued by one of these authorities, in PEM.
    VerifiedBy(Vec<u8>),
    /// No encryption, for any server. An address whose `sslmode` is `require` is refused.
    Disabled,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verified => f.write_str("Verified"),
            Self::VerifiedBy(pem) => write!(f, "VerifiedBy({} bytes)", pem.len()),
            Self::Disabled => f.write_str("Disabled"),
        }
    }
}
