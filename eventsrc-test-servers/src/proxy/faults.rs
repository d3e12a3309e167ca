//! Faults of a proxy: requested and injected.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// Moment at which the connection of a statement is cut. The client cannot distinguish the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the statement is delivered to the server.
    Undelivered,
    /// After the server has executed and answered the statement. The answer is not delivered.
    Answered,
}

/// Numbers of injected faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Injected {
    /// Connections that were cut by [`Proxy::cut`](crate::proxy::Proxy::cut).
    pub cut: u64,
    /// Connections that were cut after a number of bytes.
    pub cut_after_bytes: u64,
    /// Connections that were cut before a statement was delivered.
    pub undelivered: u64,
    /// Connections that were cut in place of the answer to a statement.
    pub answered: u64,
}

impl Injected {
    /// Returns the number of all injected faults.
    pub fn total(&self) -> u64 {
        self.cut + self.cut_after_bytes + self.undelivered + self.answered
    }
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cut, cut_after_bytes, undelivered, answered } = self;
        write!(
            f,
            "{} connections cut: {cut} on request, {cut_after_bytes} after some bytes, {undelivered} before a statement, \
             {answered} after one",
            self.total()
        )
    }
}

/// The directions that are held back.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stalled {
    to_server: bool,
    to_client: bool,
}

impl Stalled {
    pub(super) fn set(&mut self, way: Way) {
        match way {
            Way::ToServer => self.to_server = true,
            Way::ToClient => self.to_client = true,
        }
    }

    pub(super) fn is_set(self, way: Way) -> bool {
        match way {
            Way::ToServer => self.to_server,
            Way::ToClient => self.to_client,
        }
    }
}

/// Statements to cut, and the moment of the cut.
pub(super) struct Rule {
    pub(super) moment: Moment,
    pub(super) matches: Box<dyn FnMut(&str) -> bool + Send>,
    pub(super) once: bool,
}

/// The faults of one proxy.
#[derive(Default)]
pub(super) struct Faults(Mutex<State>);

#[derive(Default)]
struct State {
    to_server: Option<u64>,
    to_client: Option<u64>,
    random_cuts: Option<(StdRng, RangeInclusive<u64>)>,
    rules: Vec<Rule>,
    injected: Injected,
}

impl Faults {
    pub(super) fn set_budget(&self, way: Way, bytes: u64) {
        *self.lock().budget(way) = Some(bytes);
    }

    pub(super) fn set_random_cuts(&self, seed: u64, bytes: RangeInclusive<u64>) {
        self.lock().random_cuts = Some((StdRng::seed_from_u64(seed), bytes));
    }

    pub(super) fn add_rule(&self, rule: Rule) {
        self.lock().rules.push(rule);
    }

    pub(super) fn clear(&self) {
        let mut state = self.lock();
        *state = State { injected: state.injected, ..State::default() };
    }

    pub(super) fn injected(&self) -> Injected {
        self.lock().injected
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Injected) -> &mut u64) {
        *count(&mut self.lock().injected) += 1;
    }

    /// Draws the direction and the number of bytes after which a new connection is cut.
    pub(super) fn draw_cut(&self) -> Option<(Way, u64)> {
        let mut state = self.lock();
        let (draws, bytes) = state.random_cuts.as_mut()?;
        let way = if draws.random() { Way::ToServer } else { Way::ToClient };
        Some((way, draws.random_range(bytes.clone())))
    }

    /// Returns the number of these bytes to forward before the cut, if the connection is to be cut within them.
    pub(super) fn spend(&self, way: Way, bytes: usize) -> Option<usize> {
        let mut state = self.lock();
        let budget = state.budget(way);
        let cut = spend(budget, bytes);
        if cut.is_some() {
            *budget = None;
        }
        cut
    }

    /// Returns the moment at which to cut a connection that executes this statement.
    pub(super) fn moment(&self, statement: &str) -> Option<Moment> {
        let rules = &mut self.lock().rules;
        let hit = rules.iter_mut().position(|rule| (rule.matches)(statement))?;
        let moment = rules[hit].moment;
        if rules[hit].once {
            rules.remove(hit);
        }
        Some(moment)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn budget(&mut self, way: Way) -> &mut Option<u64> {
        match way {
            Way::ToServer => &mut self.to_server,
            Way::ToClient => &mut self.to_client,
        }
    }
}

/// Takes these bytes from the budget. Returns how many of them were left in it if it is now empty.
pub(super) fn spend(budget: &mut Option<u64>, bytes: usize) -> Option<usize> {
    let left = budget.as_mut()?;
    let passed = usize::try_from(*left).map_or(bytes, |left| left.min(bytes));
    *left -= passed as u64;
    (*left == 0).then_some(passed)
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Faults")
            .field("to_server", &state.to_server)
            .field("to_client", &state.to_client)
            .field("random_cuts", &state.random_cuts.as_ref().map(|(_, bytes)| bytes))
            .field("rules", &state.rules.len())
            .field("injected", &state.injected)
            .finish()
    }
}
