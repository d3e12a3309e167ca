//! One direction of a connection through a proxy.

use std::future::pending;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::faults::{Faults, Stalled, Way, spend};

/// One direction of a connection. Bytes are forwarded, held back, or cut off.
pub(super) struct Lane<W> {
    faults: Arc<Faults>,
    stalled: watch::Receiver<Stalled>,
    way: Way,
    cut: Option<u64>,
    to: W,
}

impl<W> Lane<W> {
    pub(super) fn new(
        faults: Arc<Faults>,
        stalled: watch::Receiver<Stalled>,
        way: Way,
        cut: Option<u64>,
        to: W,
    ) -> Self {
        Self { faults, stalled, way, cut, to }
    }
}

impl<W: AsyncWrite + Unpin> Lane<W> {
    /// Sends these bytes. Fails once the connection is cut.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.stalled.wait_for(|stalled| !stalled.is_set(self.way)).await.is_err() {
            // The proxy was dropped, which ends this connection.
            return pending().await;
        }
        let own = spend(&mut self.cut, bytes.len());
        let shared = self.faults.spend(self.way, own.unwrap_or(bytes.len()));
        let Some(passed) = shared.or(own) else { return self.to.write_all(bytes).await };
        self.to.write_all(&bytes[..passed]).await?;
        self.faults.count(|injected| &mut injected.cut_after_bytes);
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// Ends this direction. The other one may continue.
    pub(super) async fn end(&mut self) -> io::Result<()> {
        self.to.shutdown().await
    }
}

/// Forwards all bytes until the end.
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
