//! The results of a run, as a table and as JSON.

use serde::Serialize;

use crate::work::{Counts, Measured, Verdict, Work};

/// Results of one library with one piece of work, over all repeats.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) work: String,
    pub(crate) peer: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    /// Speed of ours relative to this library, as the median over the repeats. `None` for ours, and if ours did not run.
    pub(crate) ours_is_faster: Option<f64>,
    /// One result per repeat, in order.
    pub(crate) measured: Vec<Measured>,
}

/// Results of a whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Machine, versions and settings.
    pub(crate) conditions: Vec<String>,
    pub(crate) scale: f64,
    pub(crate) repeats: u32,
    pub(crate) counts: Counts,
    pub(crate) rows: Vec<Row>,
    /// Failed measurements, with their errors.
    pub(crate) failures: Vec<String>,
}

impl Row {
    /// Creates a row. `ours` has the results of ours in the same repeats.
    pub(crate) fn new(
        work: Work,
        peer: &'static str,
        measured: Vec<Measured>,
        ours: Option<&[Measured]>,
    ) -> Self {
        let ours_is_faster = ours.map(|ours| {
            let pairs = ours.iter().zip(&measured).map(|(ours, theirs)| ours.value / theirs.value);
            median(pairs.map(|ratio| if work.less_is_better() { ratio.recip() } else { ratio }).collect())
        });
        let values: Vec<_> = measured.iter().map(|measured| measured.value).collect();
        Self {
            work: work.title(),
            peer,
            unit: work.unit(),
            lowest: values.iter().copied().fold(f64::INFINITY, f64::min),
            highest: values.iter().copied().fold(0.0, f64::max),
            median: median(values),
            ours_is_faster,
            measured,
        }
    }

    /// Returns the amount of work in each repeat.
    fn count(&self) -> u64 {
        self.measured.first().map_or(0, |measured| measured.count)
    }

    /// Returns the mean number of failed attempts per repeat.
    fn failures(&self) -> String {
        let failures: u64 = self.measured.iter().map(|measured| measured.failures).sum();
        if failures == 0 { String::new() } else { number(failures as f64 / self.measured.len() as f64) }
    }

    /// Returns the verdict of a projection over all repeats.
    fn verdict(&self) -> String {
        let verdicts: Vec<_> = self.measured.iter().filter_map(|measured| measured.verdict).collect();
        let sum = |of: fn(&Verdict) -> u64| verdicts.iter().map(of).sum::<u64>();
        let applied = format!("{} of {}", whole(sum(|it| it.applied)), whole(sum(|it| it.stored)));
        match () {
            () if verdicts.is_empty() => String::new(),
            () if verdicts.iter().all(Verdict::is_right) => applied,
            () => {
                let (lost, repeated, wrong) = (sum(|it| it.lost), sum(|it| it.repeated), sum(|it| it.wrong));
                format!("WRONG: {applied}, {lost} lost, {repeated} repeated, {wrong} wrong sums")
            }
        }
    }
}

impl Report {
    /// Formats the report as Markdown that is aligned as plain text.
    pub(crate) fn markdown(&self) -> String {
        let head = [
            "work",
            "library",
            "median",
            "lowest-highest",
            "unit",
            "ours is",
            "count",
            "failed tries",
            "events applied of events stored",
        ];
        let mut cells = vec![head.map(str::to_owned)];
        cells.extend(self.rows.iter().map(|row| {
            [
                row.work.clone(),
                row.peer.to_owned(),
                number(row.median),
                format!("{}-{}", number(row.lowest), number(row.highest)),
                row.unit.to_owned(),
                row.ours_is_faster.map_or_else(String::new, |ratio| format!("{ratio:.2} x")),
                whole(row.count()),
                row.failures(),
                row.verdict(),
            ]
        }));
        let widths: [usize; 9] =
            std::array::from_fn(|column| cells.iter().map(|row| row[column].len()).max().unwrap_or(0));
        let line = |row: &[String; 9]| {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!(" {cell:<width$} |"));
            format!("|{}\n", cells.collect::<String>())
        };
        let rule = widths.map(|width| "-".repeat(width));
        let mut text: String = self.conditions.iter().map(|line| format!("- {line}\n")).collect();
        text += "\n";
        text += &line(&cells[0]);
        text += &line(&rule);
        text.extend(cells[1..].iter().map(line));
        for failure in &self.failures {
            text += &format!("\nDid not run: {failure}\n");
        }
        text
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Formats a number with three significant digits or as a whole number, with thousands separators.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => whole(value.round() as u64),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn whole(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(values: &[f64]) -> Vec<Measured> {
        values.iter().map(|&value| Measured { value, count: 1, failures: 0, verdict: None }).collect()
    }

    #[test]
    fn ours_is_compared_in_each_repeat() {
        let (ours, theirs) = (measured(&[20.0, 90.0, 400.0]), measured(&[10.0, 30.0, 100.0]));
        let row = Row::new(Work::Projection, "peer", theirs.clone(), Some(&ours));
        assert_eq!((row.median, row.ours_is_faster), (30.0, Some(3.0)));
        assert_eq!(Row::new(Work::Loads, "peer", theirs, Some(&ours)).ours_is_faster, Some(1.0 / 3.0));
    }

    #[test]
    fn numbers_have_three_digits_and_thousands_separators() {
        for (value, text) in [(0.034, "0.03"), (1.0, "1.00"), (16.04, "16.0"), (1_234_567.8, "1,234,568")] {
            assert_eq!(number(value), text);
        }
    }
}
