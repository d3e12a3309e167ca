//! Conformance suites.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::report::{Report, Row, Verdict};
use super::rule::Rule;
use super::violation::{RuleResult, Violation};
use crate::limits::HANG;

/// The rules of one contract, in the order of its sentences.
pub struct Suite<B> {
    rules: Vec<Rule<B>>,
}

impl<B: Send + Sync + 'static> Suite<B> {
    pub(super) fn new(rules: Vec<Rule<B>>) -> Self {
        Self { rules }
    }

    /// Returns the rules.
    pub fn rules(&self) -> &[Rule<B>] {
        &self.rules
    }

    /// Keeps only the rule called `name`, to run it alone.
    #[must_use]
    pub fn only(mut self, name: &str) -> Self {
        self.rules.retain(|rule| rule.name == name);
        self
    }

    /// Runs the rules one after the other against `backend`.
    ///
    /// A rule that panics or does not end within ten minutes is violated. The limit only ends a rule that hangs. It is no
    /// performance threshold.
    pub async fn run(&self, backend: &Arc<B>) -> Report {
        let mut rows = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            let verdict = if (rule.applies)(backend) {
                verdict((rule.check)(Arc::clone(backend))).await
            } else {
                Verdict::Undeclared
            };
            rows.push(Row { sentence: rule.sentence, rule: rule.name, verdict });
        }
        Report { rows, notes: Vec::new() }
    }
}

async fn verdict(check: BoxFuture<'static, RuleResult>) -> Verdict {
    // A separate task, so that a panic ends the rule and not the suite.
    let mut task = tokio::spawn(check);
    match tokio::time::timeout(HANG, &mut task).await {
        Ok(Ok(Ok(()))) => Verdict::Kept,
        Ok(Ok(Err(violation))) => Verdict::Violated(violation),
        Ok(Err(panic)) => Verdict::Violated(Violation::new(format!("the rule panicked: {panic}"))),
        Err(_) => {
            task.abort();
            Verdict::Violated(Violation::new(format!("the rule did not end within {HANG:?}")))
        }
    }
}
