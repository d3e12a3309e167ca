//! Differences between the events of a service and its lock file.

use std::fmt;

/// Differences between the events of a service and its lock file, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differences(pub Vec<Difference>);

/// Difference of one kind of event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// The kind, or this version of it, is not in the file.
    New {
        /// Name of the type of events.
        name: String,
        /// Kind.
        kind: String,
        /// Version.
        version: u32,
    },
    /// The fields of the kind have changed in a way that older code ignores.
    FieldsAdded {
        /// Name of the type of events.
        name: String,
        /// Kind.
        kind: String,
        /// Added fields.
        fields: Vec<String>,
    },
    /// The fields of the kind have changed, and its version has not.
    Changed {
        /// Name of the type of events.
        name: String,
        /// Kind.
        kind: String,
        /// Version.
        version: u32,
    },
    /// The kind is written in an older version than before.
    Older {
        /// Name of the type of events.
        name: String,
        /// Kind.
        kind: String,
        /// Version that is written.
        version: u32,
        /// Latest version in the file.
        recorded: u32,
    },
    /// A stored event can no longer be read.
    Unreadable {
        /// Name of the type of events.
        name: String,
        /// Kind.
        kind: String,
        /// Version.
        version: u32,
        /// Error of the codec, with its causes.
        error: String,
    },
}

impl Differences {
    /// True if stored events would become unreadable, or would change their meaning.
    pub fn breaks(&self) -> bool {
        self.0
            .iter()
            .any(|difference| !matches!(difference, Difference::New { .. } | Difference::FieldsAdded { .. }))
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|difference| writeln!(f, "{difference}"))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New { name, kind, version } => write!(
                f,
                "{name}: version {version} of {kind} is new. Processes with older code refuse commands about streams \
                 that have it, and their views wait at it."
            ),
            Self::FieldsAdded { name, kind, fields } => {
                let fields = fields.join(", ");
                write!(
                    f,
                    "{name}: {kind} has new optional fields: {fields}. Processes with older code ignore them."
                )
            }
            Self::Changed { name, kind, version } => {
                write!(f, "{name}: {kind} has changed, and its version is still {version}.")
            }
            Self::Older { name, kind, version, recorded } => {
                write!(f, "{name}: {kind} is written at version {version}, and was at version {recorded}.")
            }
            Self::Unreadable { name, kind, version, error } => {
                write!(f, "{name}: a stored event of version {version} of {kind} no longer reads: {error}.")
            }
        }
    }
}
