//! The service as a process: it serves until it is shut down.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use eventsrc_core::clock::{Randomness, SystemClock};
use eventsrc_core::storage::ScanStorage;
use eventsrc_core::token::TokenCodec;

use super::http::{Api, Server};
use super::service::Service;
use super::storages::Storages;
use super::views::{SyncedView, ViewQueries};

/// Serves the streams of `view` at `address` until SIGINT or SIGTERM. Then finishes the open requests and calls `end`; a
/// second signal ends the process immediately.
pub(super) async fn serve<S, V>(
    view: &SyncedView<S, V>,
    tokens: TokenCodec,
    address: &str,
    out: &mut (dyn Write + Send),
    end: impl AsyncFnOnce(),
) -> Result<()>
where
    S: Storages<Users: ScanStorage, Groups: ScanStorage>,
    V: ViewQueries,
{
    // Installed before the server listens, so that no signal is missed.
    let mut shutdown = Shutdown::new()?;
    let service = Service::new(&view.streams, Arc::new(SystemClock), Arc::new(Randomness::from_system()));
    let api = Api { service, synchronizer: view.synchronizer.clone(), tokens };
    let server = Server::start(address, api).await.with_context(|| format!("cannot listen at {address}"))?;
    writeln!(out, "listening on http://{}", server.address())?;
    out.flush()?;
    shutdown.requested().await;
    let drain = async {
        server.stop(&SystemClock).await;
        end().await;
    };
    shutdown.drain("requests", drain, out).await
}

/// The signals that request a shutdown: SIGINT and SIGTERM.
pub(super) struct Shutdown {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Shutdown {
    #[cfg(unix)]
    pub(super) fn new() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let on = |kind| signal(kind).context("cannot install a signal handler");
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    #[cfg(not(unix))]
    pub(super) fn new() -> Result<Self> {
        Ok(Self {})
    }

    /// Completes at the next signal.
    #[cfg(unix)]
    pub(super) async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    pub(super) async fn requested(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits for `drain`, or until a second signal arrives. `unit` names what is in flight.
    pub(super) async fn drain(
        &mut self,
        unit: &str,
        drain: impl Future<Output = ()>,
        out: &mut (dyn Write + Send),
    ) -> Result<()> {
        writeln!(out, "Draining in-flight {unit}. Press Ctrl-C again to stop immediately.")?;
        out.flush()?;
        tokio::select! {
            () = drain => writeln!(out, "Stopped.")?,
            () = self.requested() => writeln!(out, "Stopped immediately.")?,
        }
        Ok(())
    }
}
