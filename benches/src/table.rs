//! The results of a run, as a table, as JSON and in `BENCHMARKS.md`.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Serialize, Serializer};

use crate::measure::paired::Spread;

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) ours: f64,
    pub(crate) reference: f64,
    pub(crate) unit: &'static str,
    pub(crate) ratio: f64,
    /// Bar for the ratio; `None` for a row that only informs.
    pub(crate) bar: Option<Bar>,
    pub(crate) met: Option<bool>,
    #[serde(skip)]
    spread: Option<Spread>,
}

/// The bar that a ratio must meet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

impl Row {
    /// Creates a row without a bar, whose ratio is that of its two values.
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, ours: f64, reference: f64) -> Self {
        let ratio = ours / reference;
        Self { name: name.into(), ours, reference, unit, ratio, bar: None, met: None, spread: None }
    }

    /// Replaces the ratio with one that was measured in pairs.
    pub(crate) fn by_pairs(self, ratio: Spread) -> Self {
        Self { ratio: ratio.median, spread: Some(ratio), ..self }
    }

    /// Judges the ratio by a bar.
    pub(crate) fn bar(self, bar: Bar) -> Self {
        let met = match bar {
            Bar::AtMost(most) => self.ratio <= most,
            Bar::AtLeast(least) => self.ratio >= least,
        };
        Self { bar: Some(bar), met: Some(met), ..self }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {most:.2}"),
            Self::AtLeast(least) => write!(f, ">= {least:.2}"),
        }
    }
}

impl Serialize for Bar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Formats the rows as a Markdown table that is aligned as plain text.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let head = ["benchmark", "ours", "reference", "unit", "ratio", "quartiles", "bar", "met"];
    let mut cells = vec![head.map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        [
            row.name.clone(),
            number(row.ours),
            number(row.reference),
            row.unit.to_owned(),
            format!("{:.3}", row.ratio),
            row.spread.map_or_else(String::new, |spread| format!("{:.3}-{:.3}", spread.low, spread.high)),
            row.bar.map_or_else(String::new, |bar| bar.to_string()),
            row.met.map_or("", |met| if met { "yes" } else { "NO" }).to_owned(),
        ]
    }));
    let widths: [usize; 8] =
        std::array::from_fn(|column| cells.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}\n", cells.collect::<String>())
    };
    let rule = widths.map(|width| "-".repeat(width));
    let mut table = line(&cells[0]);
    table += &line(&rule);
    table.extend(cells[1..].iter().map(line));
    table
}

/// Replaces the text between the markers in `BENCHMARKS.md`.
pub(crate) fn write(path: &Path, run: &str) -> Result<()> {
    const BEGIN: &str = "<!-- ./bench --write begins -->\n";
    const END: &str = "<!-- ./bench --write ends -->";
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let markers = || format!("{} has no markers of `./bench --write`", path.display());
    let (before, rest) = text.split_once(BEGIN).with_context(markers)?;
    let (_, after) = rest.split_once(END).with_context(markers)?;
    fs::write(path, format!("{before}{BEGIN}\n{run}\n{END}{after}"))?;
    Ok(())
}

/// Formats a number with three significant digits or as a whole number, with thousands separators.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 && digit.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    fraction.map_or(grouped.clone(), |fraction| format!("{grouped}.{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_a_minimum_or_a_maximum() {
        let row = Row::new("fold", "instructions", 11.0, 10.0);
        assert_eq!(row.clone().bar(Bar::AtMost(1.1)).met, Some(true));
        assert_eq!(row.clone().bar(Bar::AtMost(1.0)).met, Some(false));
        assert_eq!(row.clone().bar(Bar::AtLeast(1.2)).met, Some(false));
        let json = serde_json::to_value(row.bar(Bar::AtMost(1.1))).unwrap();
        assert_eq!(json["bar"], "<= 1.10");
        assert_eq!(json["met"], true);
    }

    #[test]
    fn numbers_have_three_digits_and_thousands_separators() {
        for (value, text) in [(0.03, "0.0300"), (1.0, "1.00"), (16.04, "16.0"), (1_234_567.8, "1,234,568")] {
            assert_eq!(number(value), text);
        }
    }
}
