//! One connection through a proxy.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Protocol;
use super::faults::{Faults, Stalled, Way, spend};
use super::postgres;

/// What bears on one connection.
pub(super) struct Connection {
    faults: Arc<Faults>,
    stalled: watch::Receiver<Stalled>,
    /// Its random cut.
    cut: Option<(Way, u64)>,
}

impl Connection {
    pub(super) fn new(faults: Arc<Faults>, stalled: watch::Receiver<Stalled>) -> Self {
        let cut = faults.draw_cut();
        Self { faults, stalled, cut }
    }

    pub(super) fn count_cut(&self) {
        self.faults.count(|injected| &mut injected.cut);
    }

    /// Forwards both ways, until both have ended or the connection is cut, which is an error like any other.
    pub(super) async fn forward(
        &self,
        mut client: TcpStream,
        server: SocketAddr,
        protocol: Protocol,
    ) -> io::Result<()> {
        let mut server = TcpStream::connect(server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let to_client = self.lane(Way::ToClient, to_client);
        let to_server = self.lane(Way::ToServer, to_server);
        match protocol {
            Protocol::Any => {
                tokio::try_join!(copy(from_client, to_server), copy(from_server, to_client)).map(drop)
            }
            Protocol::Postgres => {
                postgres::forward(&self.faults, from_client, to_server, from_server, to_client).await
            }
        }
    }

    fn lane<W>(&self, way: Way, to: W) -> Lane<W> {
        let cut = self.cut.filter(|(cut, _)| *cut == way).map(|(_, bytes)| bytes);
        Lane { faults: Arc::clone(&self.faults), stalled: self.stalled.clone(), way, cut, to }
    }
}

/// One way of a connection: what goes into it comes out, or is held up, or cut off.
pub(super) struct Lane<W> {
    faults: Arc<Faults>,
    stalled: watch::Receiver<Stalled>,
    way: Way,
    cut: Option<u64>,
    to: W,
}

impl<W: AsyncWrite + Unpin> Lane<W> {
    /// Sends these bytes; an error once the connection is cut.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.stalled.wait_for(|stalled| !stalled.is_set(self.way)).await.is_err() {
            // The proxy is about to be gone with this connection.
            return pending().await;
        }
        let own = spend(&mut self.cut, bytes.len());
        let shared = self.faults.spend(self.way, own.unwrap_or(bytes.len()));
        let Some(passed) = shared.or(own) else { return self.to.write_all(bytes).await };
        self.to.write_all(&bytes[..passed]).await?;
        self.faults.count(|injected| &mut injected.cut_after_bytes);
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// Ends this way, while the other may go on.
    pub(super) async fn end(&mut self) -> io::Result<()> {
        self.to.shutdown().await
    }
}

/// Sends whatever comes.
pub(super) async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: Lane<impl AsyncWrite + Unpin>,
) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        match from.read(&mut bytes).await? {
            0 => return to.end().await,
            read => to.send(&bytes[..read]).await?,
        }
    }
}
