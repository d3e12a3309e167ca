//! Rules, and what they found.

use std::fmt;
use std::sync::Arc;

use eventsrc_core::StorageError;
use futures::future::BoxFuture;

use crate::HANG;

/// What a rule says of a backend: nothing, or how the rule is violated.
pub type RuleResult = Result<(), Violation>;

/// How a rule is violated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(String);

impl Violation {
    /// The violation that `text` describes, which is cut if it is very long.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        match text.char_indices().nth(1_000) {
            Some((end, _)) => Self(format!("{}…", &text[..end])),
            None => Self(text),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<StorageError> for Violation {
    fn from(error: StorageError) -> Self {
        Self::new(format!("an error where none is allowed: {error:?}"))
    }
}

/// Ends the rule with a violation unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::conformance::Violation::new(format!($($text)+)));
        }
    };
}

/// Ends the rule with a violation unless `found` is `expected`.
macro_rules! ensure_eq {
    ($found:expr, $expected:expr, $($text:tt)+) => {
        match (&$found, &$expected) {
            (found, expected) => $crate::conformance::report::ensure!(
                *found == *expected,
                "{}: found {found:?}, expected {expected:?}",
                format!($($text)+)
            ),
        }
    };
}

pub(crate) use {ensure, ensure_eq};

/// One thing that a backend has to do, and the sentence of the contract that it is a part of.
pub struct Rule<B> {
    pub(crate) sentence: &'static str,
    pub(crate) name: &'static str,
    pub(crate) applies: fn(&B) -> bool,
    pub(crate) check: fn(Arc<B>) -> BoxFuture<'static, RuleResult>,
}

impl<B> Rule<B> {
    /// The sentence of the contract.
    pub fn sentence(&self) -> &'static str {
        self.sentence
    }

    /// The name of the function that checks it.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// Rules of a kind, in the order of the contract.
pub struct Suite<B> {
    pub(crate) rules: Vec<Rule<B>>,
}

impl<B: Send + Sync + 'static> Suite<B> {
    pub(crate) fn new(rules: Vec<Rule<B>>) -> Self {
        Self { rules }
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule<B>] {
        &self.rules
    }

    /// The same suite with the one rule of this name, to look at it alone.
    #[must_use]
    pub fn only(mut self, name: &str) -> Self {
        self.rules.retain(|rule| rule.name == name);
        self
    }

    /// Holds `backend` against each rule in turn. A rule that panics is violated, and so is one that does not end
    /// within ten minutes: that limit only ends a hang, and measures nothing.
    pub async fn run(&self, backend: &Arc<B>) -> Report {
        let mut rows = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            let verdict = if (rule.applies)(backend) {
                self.verdict((rule.check)(Arc::clone(backend))).await
            } else {
                Verdict::Undeclared
            };
            rows.push(Row { sentence: rule.sentence, rule: rule.name, verdict });
        }
        Report { rows, notes: Vec::new() }
    }

    async fn verdict(&self, check: BoxFuture<'static, RuleResult>) -> Verdict {
        // A task of its own, so that a panic ends the rule and not the suite.
        let mut task = tokio::spawn(check);
        match tokio::time::timeout(HANG, &mut task).await {
            Ok(Ok(Ok(()))) => Verdict::Kept,
            Ok(Ok(Err(violation))) => Verdict::Violated(violation),
            Ok(Err(panic)) => Verdict::Violated(Violation::new(format!("it panicked: {panic}"))),
            Err(_) => {
                task.abort();
                Verdict::Violated(Violation::new(format!("it did not end within {HANG:?}")))
            }
        }
    }
}

/// What a suite found, rule by rule. It is shown as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a rule may be violated: `assert_kept`"]
pub struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) notes: Vec<String>,
}

/// What was found of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The sentence of the contract.
    pub sentence: &'static str,
    /// The rule.
    pub rule: &'static str,
    /// Whether it is kept.
    pub verdict: Verdict,
}

/// Whether a rule is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Kept,
    /// It is not.
    Violated(Violation),
    /// The rule is about something that the backend does not declare.
    Undeclared,
}

impl Report {
    /// What was found, in the order of the contract.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What else there is to know: seeds and counts.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How many rules are kept.
    pub fn kept(&self) -> usize {
        self.rows.iter().filter(|row| row.verdict == Verdict::Kept).count()
    }

    /// The rules that are violated.
    pub fn violated(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| matches!(row.verdict, Verdict::Violated(_)))
    }

    /// Asserts that no rule is violated.
    ///
    /// # Panics
    ///
    /// If one is, with the whole table.
    pub fn assert_kept(&self) {
        assert!(self.violated().next().is_none() && self.kept() > 0, "\n{self}");
    }

    pub(crate) fn noting(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sentence = "";
        for row in &self.rows {
            if row.sentence != sentence {
                sentence = row.sentence;
                writeln!(f, "{sentence}")?;
            }
            let rule = row.rule.replace('_', " ");
            match &row.verdict {
                Verdict::Kept => writeln!(f, "  kept        {rule}")?,
                Verdict::Undeclared => writeln!(f, "  undeclared  {rule}")?,
                Verdict::Violated(violation) => writeln!(f, "  VIOLATED    {rule}: {violation}")?,
            }
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        let (rules, kept, violated) = (self.rows.len(), self.kept(), self.violated().count());
        write!(f, "{rules} rules: {kept} kept, {violated} violated, {} undeclared", rules - kept - violated)
    }
}
