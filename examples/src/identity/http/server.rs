//! The server: where it listens, and how it ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::clock::Clock;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Api, routes};
use crate::identity::storages::Storages;
use crate::identity::views::Questions;

/// Answers requests until it is stopped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<io::Result<()>>,
    /// Ends when no request is being answered any more.
    open: mpsc::Receiver<()>,
}

/// How long requests may take to end once the server is stopped; more than the longest wait of a question.
const DRAIN: Duration = Duration::from_secs(15);

impl Server {
    /// Listens at `address`; port 0 is any that is free.
    ///
    /// # Errors
    ///
    /// If that address cannot be had.
    pub async fn start<S: Storages, V: Questions>(
        address: impl ToSocketAddrs,
        api: Api<S, V>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (opened, open) = mpsc::channel(1);
        let serving = axum::serve(listener, routes(Arc::new(api), opened));
        // Whoever drops the sender is gone, and the server with it.
        let serving = serving.with_graceful_shutdown(async move { drop(stopped.await) });
        let serving = tokio::spawn(serving.into_future());
        Ok(Self { address, stop, serving, open })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, and waits for those that it has; not for ever.
    pub async fn stop(mut self, clock: &dyn Clock) {
        drop(self.stop);
        let drained = async {
            // What went wrong with a connection was seen by its caller.
            drop((&mut self.serving).await);
            let _: Option<()> = self.open.recv().await;
        };
        tokio::select! {
            () = drained => {}
            () = clock.sleep(DRAIN) => self.serving.abort(),
        }
    }
}
