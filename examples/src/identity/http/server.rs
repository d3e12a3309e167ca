//! The HTTP server, and its graceful shutdown.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use eventsrc_core::clock::Clock;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::api::Api;
use super::routes::routes;
use crate::identity::storages::Storages;
use crate::identity::views::ViewQueries;

/// A running server. It serves until [`Server::stop`] is called or it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<io::Result<()>>,
    /// Closes when no request is in flight.
    in_flight: mpsc::Receiver<()>,
}

/// Maximum time that requests may take after the server is stopped. It exceeds the longest wait of a query.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

impl Server {
    /// Starts a server that listens at `address`. Port 0 selects a free port.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound.
    pub async fn start<S: Storages, V: ViewQueries>(
        address: impl ToSocketAddrs,
        api: Api<S, V>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (request_in_flight, in_flight) = mpsc::channel(1);
        let serving = axum::serve(listener, routes(Arc::new(api), request_in_flight));
        // The server also shuts down if `Server`, which holds the sender, is dropped.
        let serving = serving.with_graceful_shutdown(async move { drop(stopped.await) });
        let serving = tokio::spawn(serving.into_future());
        Ok(Self { address, stop, serving, in_flight })
    }

    /// Returns the address at which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more requests, and waits for those in flight, but no longer than 15 s.
    pub async fn stop(mut self, clock: &dyn Clock) {
        drop(self.stop);
        let drained = async {
            // The caller of a connection has seen its error.
            drop((&mut self.serving).await);
            let _: Option<()> = self.in_flight.recv().await;
        };
        tokio::select! {
            () = drained => {}
            () = clock.sleep(DRAIN_TIMEOUT) => self.serving.abort(),
        }
    }
}
