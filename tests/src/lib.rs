//! See `main.rs` beside this folder.

pub mod seeded_bugs;
