//! The results, as a table.

use super::recorder::Spent;

/// Cost of one piece of work with one library.
pub(super) struct Row {
    /// Index of the work, for the order of the table.
    pub(super) work: usize,
    pub(super) what: String,
    pub(super) peer: &'static str,
    pub(super) spent: Spent,
}

/// Formats the rows as Markdown that is aligned as plain text.
pub(super) fn markdown(conditions: &[String], rows: &[Row]) -> String {
    let head =
        ["work", "library", "requests", "write units", "read units", "reported: write", "reported: read"];
    let mut cells = vec![head.map(str::to_owned)];
    cells.extend(rows.iter().map(|Row { what, peer, spent, .. }| {
        [
            what.clone(),
            (*peer).to_owned(),
            spent.requests.to_string(),
            spent.by_rule.write.to_string(),
            spent.by_rule.read.to_string(),
            spent.reported.write.to_string(),
            spent.reported.read.to_string(),
        ]
    }));
    let widths: [usize; 7] =
        std::array::from_fn(|column| cells.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}\n", cells.collect::<String>())
    };
    let mut text: String = conditions.iter().map(|condition| format!("- {condition}\n")).collect();
    text += "\n";
    text += &line(&cells[0]);
    text += &line(&widths.map(|width| "-".repeat(width)));
    text.extend(cells[1..].iter().map(line));
    text
}
