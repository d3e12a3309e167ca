//! Counts of injected faults.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

/// Number of injected faults of each kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InjectedHttp(BTreeMap<&'static str, u64>);

impl InjectedHttp {
    /// Number of all faults.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Number of kinds that occurred.
    pub fn kinds(&self) -> usize {
        self.0.len()
    }

    pub(super) fn add(&mut self, kind: &'static str) {
        *self.0.entry(kind).or_default() += 1;
    }
}

impl AddAssign for InjectedHttp {
    fn add_assign(&mut self, other: Self) {
        for (kind, count) in other.0 {
            *self.0.entry(kind).or_default() += count;
        }
    }
}

impl fmt::Display for InjectedHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> = self.0.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        write!(f, "{} faults: {}", self.total(), kinds.join(", "))
    }
}
