//! Serving until somebody says stop.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use eventsrc_core::{Randomness, ScanStorage, Surroundings, SynchronizerSettings, SystemClock, TokenCodec};

use super::http::{Api, Server};
use super::service::Service;
use super::storages::Storages;
use super::views::{Kept, Questions};

/// Serves what is in `storages` at `address` until SIGINT or SIGTERM, then ends in good order; at the second one, at once.
pub(super) async fn serve<S, V>(
    storages: &S,
    view: V,
    tokens: TokenCodec,
    address: &str,
    out: &mut (dyn Write + Send),
) -> Result<()>
where
    S: Storages<Users: ScanStorage, Groups: ScanStorage>,
    V: Questions,
{
    // Before anything can be asked, so that no signal is missed.
    let mut stop = Stop::new().context("cannot wait for signals")?;
    let kept = Kept::start(storages, view, SynchronizerSettings::default(), Surroundings::default());
    let service = Service::new(&kept.streams, Arc::new(SystemClock), Arc::new(Randomness::from_system()));
    let api = Api { service, synchronizer: kept.synchronizer.clone(), tokens };
    let server = Server::start(address, api).await.with_context(|| format!("cannot listen at {address}"))?;
    writeln!(out, "listening on http://{}", server.address())?;
    out.flush()?;
    stop.said().await;
    writeln!(out, "stopping: requests that were taken are answered first, unless it is said again")?;
    out.flush()?;
    let in_order = async {
        server.stop(&SystemClock).await;
        kept.stop().await;
    };
    tokio::select! {
        () = in_order => writeln!(out, "stopped")?,
        () = stop.said() => writeln!(out, "stopped at once")?,
    }
    Ok(())
}

/// What says stop.
#[cfg(unix)]
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Stop {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn said(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What says stop.
#[cfg(not(unix))]
struct Stop;

#[cfg(not(unix))]
impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn said(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
