//! Failing fast while the server is away.

use std::time::Duration;

use crate::failure::Failure;

/// Wait between the first failure to connect and the first probe.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Longest wait between two probes.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Knowledge that the server is away, because it did not answer when a connection was opened.
///
/// Then a put fails at once with the same failure, until a probe is due. The first put after that is the probe: it alone
/// is sent, and others fail until its outcome is known. If it fails to connect as well, the wait for the next probe
/// doubles. Any other outcome ends the outage, except that the server did not answer in time.
///
/// All times are of one monotonic clock.
#[derive(Default)]
pub(super) struct Outage(Option<Away>);

struct Away {
    failure: Failure,
    /// Time before which no probe is sent.
    next_probe: Duration,
    wait: Duration,
    probe: Probe,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Probe {
    None,
    Waits,
    Sent,
}

impl Outage {
    /// Checks that a put at the time `now` may be accepted.
    ///
    /// # Errors
    ///
    /// The failure of the last try, if the server is away and no probe is due.
    pub(super) fn admit(&self, now: Duration) -> Result<(), Failure> {
        match &self.0 {
            Some(away) if away.probe != Probe::None || now < away.next_probe => Err(away.failure.clone()),
            _ => Ok(()),
        }
    }

    /// A put was accepted. During an outage, it is the probe.
    pub(super) fn accepted(&mut self) {
        self.set_probe(Probe::None, Probe::Waits);
    }

    /// The waiting puts were sent.
    pub(super) fn sent(&mut self) {
        self.set_probe(Probe::Waits, Probe::Sent);
    }

    /// The waiting puts were dropped, because their callers are gone.
    pub(super) fn dropped(&mut self) {
        self.set_probe(Probe::Waits, Probe::None);
    }

    /// The outcome of sent puts is unknown, and so is whether the server is back.
    pub(super) fn unknown(&mut self) {
        self.set_probe(Probe::Sent, Probe::None);
    }

    /// A connection was there.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    /// No connection could be opened at the time `now`.
    pub(super) fn extend(&mut self, failure: Failure, now: Duration) {
        let wait = match &self.0 {
            None => FIRST_WAIT,
            Some(away) if away.probe == Probe::Sent => (away.wait * 2).min(LONGEST_WAIT),
            Some(away) => away.wait,
        };
        self.0 = Some(Away { failure, next_probe: now + wait, wait, probe: Probe::None });
    }

    fn set_probe(&mut self, from: Probe, to: Probe) {
        if let Some(away) = self.0.as_mut().filter(|away| away.probe == from) {
            away.probe = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn away() -> Failure {
        Failure::unavailable("away")
    }

    #[test]
    fn one_probe_at_a_time_is_admitted_with_growing_waits() {
        let mut outage = Outage::default();
        let mut now = ms(0);
        outage.admit(now).unwrap();
        outage.accepted();
        outage.sent();
        outage.extend(away(), now);
        for wait in [100, 200, 400, 800, 1_600, 2_000, 2_000] {
            outage.admit(now + ms(wait - 1)).unwrap_err();
            now += ms(wait);
            outage.admit(now).unwrap();
            outage.accepted();
            outage.admit(now).unwrap_err();
            outage.sent();
            outage.admit(now + ms(10_000)).unwrap_err();
            outage.extend(away(), now);
        }
    }

    #[test]
    fn a_connection_ends_the_outage() {
        let mut outage = Outage::default();
        outage.extend(away(), ms(0));
        outage.admit(ms(99)).unwrap_err();
        outage.end();
        outage.admit(ms(99)).unwrap();
        outage.extend(away(), ms(1_000));
        outage.admit(ms(1_100)).unwrap();
    }

    #[test]
    fn a_probe_whose_caller_is_gone_is_replaced() {
        let mut outage = Outage::default();
        outage.extend(away(), ms(0));
        outage.accepted();
        outage.admit(ms(500)).unwrap_err();
        outage.dropped();
        outage.admit(ms(500)).unwrap();
        outage.accepted();
        outage.sent();
        outage.dropped();
        outage.admit(ms(500)).unwrap_err();
        outage.unknown();
        outage.admit(ms(500)).unwrap();
    }

    #[test]
    fn failures_of_groups_that_were_sent_before_do_not_extend_the_wait() {
        let mut outage = Outage::default();
        outage.extend(away(), ms(0));
        outage.extend(away(), ms(10));
        outage.admit(ms(109)).unwrap_err();
        outage.admit(ms(110)).unwrap();
    }
}
