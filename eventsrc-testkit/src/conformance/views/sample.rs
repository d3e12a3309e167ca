//! Events that the rules about views apply, and the lines that the test view writes for them.

use eventsrc_core::view::ViewError;
use eventsrc_core::{Event, Sequence, StreamName};
use serde::{Deserialize, Serialize};

use super::super::sample::SampleKey;

/// The payload that the rules apply. Each variant states what the code of the test view does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ViewSample {
    /// Writes the event to the row of its stream.
    Write,
    /// Does nothing: the view ignores the event.
    Ignore,
    /// Writes the event to the rows of these names, in this order.
    WriteTo(Vec<String>),
    /// Writes this text to the row of the stream.
    Text(String),
    /// Writes the event, and returns an error with this text.
    Fail(String),
    /// Writes the event, and panics with this text.
    Panic(String),
    /// Writes the event, and a line that violates a constraint of the table.
    Break,
    /// Writes the event, and a line that violates a constraint of the table. Continues in spite of the error.
    BreakAndGoOn,
    /// Writes the event, and a line that violates a deferred constraint.
    BreakAtTheEnd,
}

/// A line that the code of the test view appends to a row. The row is created if it does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The name of the row.
    pub name: String,
    /// The text to append. `None` violates the constraint that a row has a text.
    pub text: Option<String>,
    /// The name of a row that must exist when the transaction ends, if there is one to name. Databases without
    /// deferred constraints ignore it.
    pub beside: Option<String>,
    /// True if the code continues when the database refuses the line.
    pub forgiven: bool,
}

impl ViewSample {
    /// Returns the lines that the code of the test view executes for `event`.
    ///
    /// The code returns the first error. The iterator may also panic.
    pub fn lines<'a, S: Sequence>(
        event: &Event<'a, SampleKey, S, Self>,
    ) -> impl Iterator<Item = Result<Line, ViewError>> + Send + use<'a, S> {
        let name = StreamName::of(event.key()).map_or_else(|_| "no name".into(), |name| name.to_string());
        let mark = format!("{}+{} ", event.metadata().commit_id, event.index);
        let payload = event.payload;
        let write = match payload {
            Self::Ignore => Vec::new(),
            Self::WriteTo(names) => names.iter().map(|name| Line::new(name, &mark)).collect(),
            Self::Text(text) => vec![Line::new(&name, text)],
            _ => vec![Line::new(&name, &mark)],
        };
        let then = std::iter::once_with(move || match payload {
            Self::Fail(text) => Some(Err(text.as_str().into())),
            // Prints nothing on the terminal, because the panic is part of a test.
            Self::Panic(text) => std::panic::resume_unwind(Box::new(text.clone())),
            Self::Break => Some(Ok(Line { text: None, ..Line::new(&name, "") })),
            Self::BreakAndGoOn => Some(Ok(Line { text: None, forgiven: true, ..Line::new(&name, "") })),
            Self::BreakAtTheEnd => Some(Ok(Line { beside: Some("missing".into()), ..Line::new(&name, "") })),
            _ => None,
        });
        write.into_iter().map(Ok).chain(then.flatten())
    }
}

impl Line {
    fn new(name: &str, text: &str) -> Self {
        Self { name: name.into(), text: Some(text.into()), beside: None, forgiven: false }
    }
}
