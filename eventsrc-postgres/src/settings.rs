//! How Postgres is used.

use std::fmt;
use std::time::Duration;

/// How a [`Postgres`](crate::Postgres) is used. A commit is always durable before it is acknowledged: a session for which
/// the server's settings turn `synchronous_commit` off turns it on again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The schema that holds our tables, and nothing of anybody else's. It is made if it is not there.
    pub schema: String,
    /// When connections are encrypted.
    pub tls: Tls,
    /// How many connections there are at most for reading, and as many again for views, at least 1. Putting commits has its
    /// own, one for each of `groups_in_flight`, so that no reader keeps a commit waiting.
    pub connections: usize,
    /// How long to wait for a connection, new or free, before the answer is `Unavailable`.
    pub connect_timeout: Duration,
    /// How long one statement may take before the answer is `Unavailable`; `None` for ever.
    pub statement_timeout: Option<Duration>,
    /// How long a transaction may wait for its next statement before the server ends it, `None` for ever: a process that was
    /// stopped in the middle of a batch would keep its streams from every other worker.
    pub idle_in_transaction_timeout: Option<Duration>,
    /// How many commits a page holds at most, at least 1.
    pub commits_per_page: usize,
    /// After how many bytes of payloads and metadata a page ends; a commit is never cut.
    pub bytes_per_page: usize,
    /// How many groups of commits are on their way at once, at least 1.
    pub groups_in_flight: usize,
    /// How many commits a group holds at most, at least 1.
    pub commits_per_group: usize,
    /// After how many bytes of payloads and metadata a group ends; a larger commit goes by itself.
    pub bytes_per_group: usize,
}

/// Schema `eventsrc`, verified TLS, 8 connections, 5 seconds to connect, 30 for a statement and 10 between the
/// statements of a transaction, pages of 1,000 commits or a MiB, 2 groups of 512 commits or 4 MiB.
impl Default for Settings {
    fn default() -> Self {
        Self {
            schema: "eventsrc".into(),
            tls: Tls::Verified,
            connections: 8,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Some(Duration::from_secs(30)),
            idle_in_transaction_timeout: Some(Duration::from_secs(10)),
            commits_per_page: 1_000,
            bytes_per_page: 1 << 20,
            groups_in_flight: 2,
            commits_per_group: 512,
            bytes_per_group: 4 << 20,
        }
    }
}

/// When connections are encrypted.
///
/// An address is local if it is a Unix socket, a loopback address or `localhost`. What the `sslmode` of the address asks
/// for counts where it makes a connection safer: `require` (and `verify-ca`, `verify-full`) encrypts and verifies a local
/// one too. `disable` towards a host that is not local is refused, unless `Disabled` says so in the program as well:
/// an address is too easily copied for it to decide alone that passwords and events travel in the clear.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tls {
    /// Encrypted, with a certificate that one of the system's authorities vouches for, unless the address is local.
    #[default]
    Verified,
    /// Encrypted, with a certificate that one of these authorities vouches for (in PEM), unless the address is local.
    VerifiedBy(Vec<u8>),
    /// In the clear, wherever the server is. An address whose `sslmode` is `require` is then refused.
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
