//! Switch that makes calls hang.

use tokio::sync::watch;

/// Switch of a service that stops answering: while it is on, calls wait.
#[derive(Debug, Default)]
pub(super) struct HangSwitch(watch::Sender<bool>);

impl HangSwitch {
    pub(super) fn turn(&self, on: bool) {
        self.0.send_replace(on);
    }

    pub(super) fn is_on(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the switch is off.
    pub(super) async fn off(&self) {
        let mut switch = self.0.subscribe();
        switch.wait_for(|on| !on).await.expect("the switch outlives its borrow");
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn calls_wait_until_the_switch_is_off() {
        let switch = HangSwitch::default();
        assert_eq!(switch.off().now_or_never(), Some(()));
        switch.turn(true);
        let waiting = switch.off();
        tokio::pin!(waiting);
        assert_eq!(waiting.as_mut().now_or_never(), None);
        switch.turn(false);
        waiting.await;
        assert!(!switch.is_on());
    }
}
