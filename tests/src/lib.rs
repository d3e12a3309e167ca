//! See `main.rs` beside this folder.
