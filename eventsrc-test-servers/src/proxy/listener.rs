//! A proxy: its listener, and the controls of its faults.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use super::connection::Connection;
use super::faults::{Faults, Injected, Moment, Rule, Stalled, Way};
use super::protocol::Protocol;
use crate::port::listen;

/// A proxy on a port of 127.0.0.1. On drop, it closes all its connections.
///
/// While its server is down, it still accepts connections and closes them at once.
pub struct Proxy {
    server: SocketAddr,
    address: SocketAddr,
    protocol: Protocol,
    faults: Arc<Faults>,
    /// Counts the cuts of all connections. A connection ends when the value changes or the sender is dropped.
    cuts: watch::Sender<u64>,
    stalled: watch::Sender<Stalled>,
    /// The task that accepts connections, unless they are refused.
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl Proxy {
    /// Starts a proxy in front of the server at this address, whatever its protocol.
    ///
    /// # Errors
    ///
    /// If no port is available.
    pub async fn before(server: SocketAddr) -> io::Result<Self> {
        Self::start(server, Protocol::Any).await
    }

    /// Starts a proxy in front of the Postgres at this address. The proxy sees statements that are not encrypted.
    ///
    /// # Errors
    ///
    /// If no port is available.
    pub async fn before_postgres(server: SocketAddr) -> io::Result<Self> {
        Self::start(server, Protocol::Postgres).await
    }

    /// Returns the address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `url` with the address of the proxy in place of the server's.
    ///
    /// # Panics
    ///
    /// If `url` does not contain the address of the server.
    pub fn url(&self, url: &str) -> String {
        let server = self.server.to_string();
        assert!(url.contains(&server), "{url} does not lead to {server}");
        url.replacen(&server, &self.address.to_string(), 1)
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Refuses new connections, like a server that is down. Existing connections continue.
    pub async fn refuse(&self) {
        if let Some(listener) = self.listener.lock().await.take() {
            listener.abort();
            let _ = listener.await;
        }
    }

    /// Accepts new connections again after they were [refused](Self::refuse).
    ///
    /// # Errors
    ///
    /// If another process has taken the port since.
    pub async fn accept(&self) -> io::Result<()> {
        let mut listener = self.listener.lock().await;
        if listener.is_none() {
            *listener = Some(self.accept_connections(TcpListener::bind(self.address).await?));
        }
        Ok(())
    }

    /// Holds back all bytes in this direction, on every connection, until [`resume`](Self::resume).
    pub fn stall(&self, way: Way) {
        self.stalled.send_modify(|stalled| stalled.set(way));
    }

    /// Forwards everything again, beginning with the bytes that were held back.
    pub fn resume(&self) {
        self.stalled.send_replace(Stalled::default());
    }

    /// Forwards `bytes` more bytes in this direction, over all connections, and then cuts the connection that carried
    /// the last of them.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        self.faults.set_budget(way, bytes);
    }

    /// Cuts each new connection after a random number of bytes in a random direction, both drawn from `seed`.
    pub fn cut_randomly(&self, seed: u64, bytes: RangeInclusive<u64>) {
        self.faults.set_random_cuts(seed, bytes);
    }

    /// Cuts the next connection that executes a matching statement, at this moment.
    ///
    /// A statement is matched when it is executed, by its text: the whole text of a simple query, or the text of a
    /// prepared statement. The cut also drops the answers of other statements that were sent with it, up to the same
    /// Sync.
    ///
    /// # Panics
    ///
    /// If the proxy is not [in front of a Postgres](Self::before_postgres).
    pub fn cut_once(&self, moment: Moment, matches: impl FnMut(&str) -> bool + Send + 'static) {
        self.add_rule(Rule { moment, matches: Box::new(matches), once: true });
    }

    /// Cuts every connection that executes a matching statement, like [`cut_once`](Self::cut_once), until
    /// [`calm`](Self::calm). `matches` may be random.
    ///
    /// # Panics
    ///
    /// If the proxy is not [in front of a Postgres](Self::before_postgres).
    pub fn cut_each(&self, moment: Moment, matches: impl FnMut(&str) -> bool + Send + 'static) {
        self.add_rule(Rule { moment, matches: Box::new(matches), once: false });
    }

    /// Ends all faults except a [refusal](Self::refuse): stalled bytes are forwarded and no further connection is
    /// cut, except for a statement that already waits for its answer.
    pub fn calm(&self) {
        self.faults.clear();
        self.resume();
    }

    /// Returns the numbers of faults injected so far.
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
        *proxy.listener.lock().await = Some(proxy.accept_connections(listener));
        Ok(proxy)
    }

    fn accept_connections(&self, listener: TcpListener) -> JoinHandle<()> {
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
                        // If one side fails, the other side sees the end of its connection. There is nothing else to report.
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
