//! A proxy before a server, whose connections fail as a test tells them to.
//!
//! It forwards bytes, so it stands before any server that speaks over TCP. Before a Postgres it reads along as well, and
//! can cut a connection right before a statement is delivered, or once the server has answered it:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use eventsrc_test_servers::proxy::{Moment, Proxy, is_commit};
//! use eventsrc_test_servers;
//!
//! let server = servers::postgres().await;
//! let proxy = Proxy::before_postgres(server.address()).await?;
//! let url = proxy.url(&server.database("sample").await);
//! proxy.cut_once(Moment::Answered, is_commit);
//! // The next transaction through `url` is committed, and its client sees an error.
//! # Ok(())
//! # }
//! ```

mod connection;
mod faults;
mod postgres;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use self::connection::Connection;
use self::faults::{Faults, Rule, Stalled};
pub use self::faults::{Injected, Moment, Way};
pub use self::postgres::is_commit;
use crate::port::listen;

/// A proxy on a port of 127.0.0.1; on drop, it is gone with all its connections.
///
/// While its server is down, it still takes connections, and closes them at once.
pub struct Proxy {
    server: SocketAddr,
    address: SocketAddr,
    protocol: Protocol,
    faults: Arc<Faults>,
    /// Counts the times that all connections were cut; they end when it changes or is dropped.
    cuts: watch::Sender<u64>,
    stalled: watch::Sender<Stalled>,
    /// Takes connections, unless they are refused.
    listener: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Any,
    Postgres,
}

impl Proxy {
    /// Starts one before the server at this address, whatever it speaks.
    ///
    /// # Errors
    ///
    /// If there is no port to be had.
    pub async fn before(server: SocketAddr) -> io::Result<Self> {
        Self::start(server, Protocol::Any).await
    }

    /// Starts one before the Postgres at this address, whose statements it sees, unless they are encrypted.
    ///
    /// # Errors
    ///
    /// If there is no port to be had.
    pub async fn before_postgres(server: SocketAddr) -> io::Result<Self> {
        Self::start(server, Protocol::Postgres).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `url` by way of this proxy: the same, with its address in place of the server's.
    ///
    /// # Panics
    ///
    /// If the server's address is not in `url`.
    pub fn url(&self, url: &str) -> String {
        let server = self.server.to_string();
        assert!(url.contains(&server), "{url} does not lead to {server}");
        url.replacen(&server, &self.address.to_string(), 1)
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Refuses new connections, as a server that is down does; those that are there go on.
    pub async fn refuse(&self) {
        if let Some(listener) = self.listener.lock().await.take() {
            listener.abort();
            let _ = listener.await;
        }
    }

    /// Takes new connections again after they were [refused](Self::refuse).
    ///
    /// # Errors
    ///
    /// If its port was taken by somebody else meanwhile.
    pub async fn accept(&self) -> io::Result<()> {
        let mut listener = self.listener.lock().await;
        if listener.is_none() {
            *listener = Some(self.take_connections(TcpListener::bind(self.address).await?));
        }
        Ok(())
    }

    /// Forwards nothing more this way, on any connection, until it [resumes](Self::resume).
    pub fn stall(&self, way: Way) {
        self.stalled.send_modify(|stalled| stalled.set(way));
    }

    /// Forwards everything again, what was held up first.
    pub fn resume(&self) {
        self.stalled.send_replace(Stalled::default());
    }

    /// Lets `bytes` more go this way, on all connections together, and cuts the connection that carries the last of them
    /// right behind it.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        self.faults.set_budget(way, bytes);
    }

    /// Cuts each new connection after a random number of bytes one way, drawn with the way itself from `seed`.
    pub fn cut_randomly(&self, seed: u64, bytes: RangeInclusive<u64>) {
        self.faults.set_random_cuts(seed, bytes);
    }

    /// Cuts the connection that next executes such a statement, at this moment.
    ///
    /// Statements are seen where they are executed, as texts (of a simple query: all of it) or as what was prepared
    /// before. An answer is cut off together with those of other statements that were sent with it (up to the same Sync).
    ///
    /// # Panics
    ///
    /// If it does not stand [before a Postgres](Self::before_postgres).
    pub fn cut_once(&self, moment: Moment, is_such: impl FnMut(&str) -> bool + Send + 'static) {
        self.add_rule(Rule { moment, is_such: Box::new(is_such), once: true });
    }

    /// Cuts every connection that executes such a statement, as [`cut_once`](Self::cut_once) does, until it
    /// [calms](Self::calm). `is_such` may draw lots.
    ///
    /// # Panics
    ///
    /// If it does not stand [before a Postgres](Self::before_postgres).
    pub fn cut_each(&self, moment: Moment, is_such: impl FnMut(&str) -> bool + Send + 'static) {
        self.add_rule(Rule { moment, is_such: Box::new(is_such), once: false });
    }

    /// Ends all faults but a [refusal](Self::refuse): nothing is stalled any more, and nothing more will be cut, save for
    /// a statement that is waiting for its answer already.
    pub fn calm(&self) {
        self.faults.clear();
        self.resume();
    }

    /// What was injected so far.
    pub fn injected(&self) -> Injected {
        self.faults.injected()
    }

    async fn start(server: SocketAddr, protocol: Protocol) -> io::Result<Self> {
        let listener = listen()?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let proxy = Self {
            server,
            address: listener.local_addr()?,
            protocol,
            faults: Arc::default(),
            cuts: watch::Sender::default(),
            stalled: watch::Sender::default(),
            listener: Mutex::default(),
        };
        *proxy.listener.lock().await = Some(proxy.take_connections(listener));
        Ok(proxy)
    }

    fn take_connections(&self, listener: TcpListener) -> JoinHandle<()> {
        let (server, protocol, faults) = (self.server, self.protocol, Arc::clone(&self.faults));
        let (cuts, stalled) = (self.cuts.subscribe(), self.stalled.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut cuts = cuts.clone();
                cuts.mark_unchanged();
                let connection = Connection::new(Arc::clone(&faults), stalled.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        _ = cuts.changed() => connection.count_cut(),
                        // Whichever side failed, the other sees its connection end, and that is all there is to say.
                        _ = connection.forward(client, server, protocol) => {}
                    }
                });
            }
        })
    }

    fn add_rule(&self, rule: Rule) {
        assert_eq!(self.protocol, Protocol::Postgres, "this proxy does not see statements");
        self.faults.add_rule(rule);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.get_mut().take() {
            listener.abort();
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("server", &self.server)
            .field("address", &self.address)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}
