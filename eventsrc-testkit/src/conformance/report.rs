//! Reports of suites.

use std::fmt;

use super::violation::Violation;

/// Results of a suite, rule by rule. `Display` prints them as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a rule may be violated: `assert_kept`"]
pub struct Report {
    pub(super) rows: Vec<Row>,
    pub(super) notes: Vec<String>,
}

/// Result of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The sentence of the contract.
    pub sentence: &'static str,
    /// The name of the rule.
    pub rule: &'static str,
    /// The verdict on the backend.
    pub verdict: Verdict,
}

/// Verdict of one rule on a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The backend keeps the rule.
    Kept,
    /// The backend violates the rule.
    Violated(Violation),
    /// The rule was not run, because the backend does not declare the capability that it needs.
    Undeclared,
}

impl Report {
    /// Returns the results in the order of the contract.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Returns additional facts about the run, such as the seed and the counts of injected faults.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the number of rules that the backend keeps.
    pub fn kept(&self) -> usize {
        self.rows.iter().filter(|row| row.verdict == Verdict::Kept).count()
    }

    /// Returns the rules that the backend violates.
    pub fn violated(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| matches!(row.verdict, Verdict::Violated(_)))
    }

    /// Asserts that the backend keeps at least one rule and violates none.
    ///
    /// # Panics
    ///
    /// If a rule is violated or none is kept. The message is the whole table.
    pub fn assert_kept(&self) {
        assert!(self.violated().next().is_none() && self.kept() > 0, "\n{self}");
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
