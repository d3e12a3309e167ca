//! Serving until somebody says stop.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use eventsrc_core::clock::{Randomness, SystemClock};
use eventsrc_core::storage::ScanStorage;
use eventsrc_core::token::TokenCodec;

use super::http::{Api, Server};
use super::service::Service;
use super::storages::Storages;
use super::views::{Kept, Questions};

/// Serves what is in the streams of `kept` at `address` until SIGINT or SIGTERM, then ends in good order, with `end` as the last
/// thing; at the second one, at once.
pub(super) async fn serve<S, V>(
    kept: &Kept<S, V>,
    tokens: TokenCodec,
    address: &str,
    out: &mut (dyn Write + Send),
    end: impl AsyncFnOnce(),
) -> Result<()>
where
    S: Storages<Users: ScanStorage, Groups: ScanStorage>,
    V: Questions,
{
    // Before anything can be asked, so that no signal is missed.
    let mut stop = Stop::new()?;
    let service = Service::new(&kept.streams, Arc::new(SystemClock), Arc::new(Randomness::from_system()));
    let api = Api { service, synchronizer: kept.synchronizer.clone(), tokens };
    let server = Server::start(address, api).await.with_context(|| format!("cannot listen at {address}"))?;
    writeln!(out, "listening on http://{}", server.address())?;
    out.flush()?;
    stop.said().await;
    let in_order = async {
        server.stop(&SystemClock).await;
        end().await;
    };
    stop.unless_said_again("requests that were taken are answered first", in_order, out).await
}

/// What says stop.
pub(super) struct Stop {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    #[cfg(unix)]
    pub(super) fn new() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let on = |kind| signal(kind).context("cannot wait for signals");
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    #[cfg(not(unix))]
    pub(super) fn new() -> Result<Self> {
        Ok(Self {})
    }

    #[cfg(unix)]
    pub(super) async fn said(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    pub(super) async fn said(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends in good order, which `first` describes, or at once if stop is said a second time.
    pub(super) async fn unless_said_again(
        &mut self,
        first: &str,
        in_order: impl Future<Output = ()>,
        out: &mut (dyn Write + Send),
    ) -> Result<()> {
        writeln!(out, "stopping: {first}, unless it is said again")?;
        out.flush()?;
        tokio::select! {
            () = in_order => writeln!(out, "stopped")?,
            () = self.said() => writeln!(out, "stopped at once")?,
        }
        Ok(())
    }
}
