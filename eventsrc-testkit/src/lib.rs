//! What a backend author tests with.

pub mod history;
