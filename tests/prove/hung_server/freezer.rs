//! Random freezes of a proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use eventsrc_core::clock::{Clock, SystemClock};
use eventsrc_test_servers::proxy::{Proxy, Way};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longest time between two freezes.
const LONGEST_THAW: Duration = Duration::from_millis(300);

/// Longest duration of most freezes. The shorter ones delay calls, and the longer ones exceed the timeouts.
const LONGEST_FREEZE: Duration = Duration::from_millis(900);

/// Number of freezes of which one is far longer than the timeouts.
const LONG_ONE_IN: u64 = 40;

const LONG_FREEZE: Duration = Duration::from_secs(12);

/// Freezes and thaws a proxy until it is stopped.
pub(super) struct Freezer {
    is_running: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl Freezer {
    /// Starts with a freeze as soon as `begins` is completed.
    pub(super) fn start(proxy: Arc<Proxy>, seed: u64, begins: oneshot::Receiver<()>) -> Self {
        let is_running = Arc::new(AtomicBool::new(true));
        let freezes = freeze(proxy, StdRng::seed_from_u64(seed), Arc::clone(&is_running));
        // If the sender is dropped, there is nothing to freeze.
        let task = tokio::spawn(async { if begins.await.is_ok() { freezes.await } else { 0 } });
        Self { is_running, task }
    }

    /// Ends the freezes with a thaw, and returns their number.
    pub(super) async fn stop(self) -> Result<u64> {
        self.is_running.store(false, Ordering::Relaxed);
        Ok(self.task.await?)
    }
}

async fn freeze(proxy: Arc<Proxy>, mut draws: StdRng, is_running: Arc<AtomicBool>) -> u64 {
    let mut freezes = 0;
    while is_running.load(Ordering::Relaxed) {
        if freezes > 0 {
            SystemClock.sleep(LONGEST_THAW.mul_f64(draws.random())).await;
        }
        let ways: &[Way] = match draws.random_range(0..3) {
            0 => &[Way::ToServer],
            1 => &[Way::ToClient],
            _ => &[Way::ToServer, Way::ToClient],
        };
        ways.iter().for_each(|way| proxy.stall(*way));
        freezes += 1;
        let duration = match freezes {
            // It exceeds the timeouts.
            1 => LONGEST_FREEZE,
            _ if freezes % LONG_ONE_IN == 0 => LONG_FREEZE,
            _ => LONGEST_FREEZE.mul_f64(draws.random()),
        };
        SystemClock.sleep(duration).await;
        proxy.resume();
    }
    freezes
}
