//! What the rules about views apply, and what the test view makes of it.

use eventsrc_core::view::ViewError;
use eventsrc_core::{Event, Sequence, StreamName};
use serde::{Deserialize, Serialize};

use super::super::sample::SampleKey;

/// The payload that the rules apply: each says what the code of the test view is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ViewSample {
    /// Write the event to the row of its stream.
    Write,
    /// Nothing: the view does not care for it.
    Ignore,
    /// Write the event to the rows of these names, in this order.
    WriteTo(Vec<String>),
    /// Write this text to the row of the stream.
    Text(String),
    /// Write the event, and return an error of this text.
    Fail(String),
    /// Write the event, and panic with this text.
    Panic(String),
    /// Write the event, and something that breaks a rule of the table.
    Break,
    /// Write the event and something that breaks a rule of the table, and go on as if it had not.
    BreakAndGoOn,
    /// Write the event, and something that breaks a rule which is looked at when the transaction ends.
    BreakAtTheEnd,
}

/// What the code of the test view adds to a row, which is made if it is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The name of the row.
    pub name: String,
    /// What is added at the end of its text. `None` breaks the rule that there is one.
    pub text: Option<String>,
    /// The name of a row that has to be there when the transaction ends; often there is none to name. Databases without such
    /// rules leave it out.
    pub beside: Option<String>,
    /// Whether the code goes on if the line is refused.
    pub forgiven: bool,
}

impl ViewSample {
    /// What the code of the test view does with `event`, line by line. Where it comes to an error the code returns it; it may
    /// also panic.
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
            // Without a word on the terminal: it is part of a test.
            Self::Panic(text) => std::panic::resume_unwind(Box::new(text.clone())),
            Self::Break => Some(Ok(Line { text: None, ..Line::new(&name, "") })),
            Self::BreakAndGoOn => Some(Ok(Line { text: None, forgiven: true, ..Line::new(&name, "") })),
            Self::BreakAtTheEnd => Some(Ok(Line { beside: Some("nobody".into()), ..Line::new(&name, "") })),
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
