//! Protocols that a proxy can parse.

/// Protocol of the connections of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Any protocol. The proxy forwards bytes.
    Any,
    /// Version 3 of the Postgres protocol. The proxy sees statements and their answers.
    Postgres,
}
