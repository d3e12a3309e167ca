//! Tokens, which tie what was written to what is read.

mod set;
mod text;

pub use set::{Token, TokenPosition};
pub use text::{TokenCodec, TokenError, TokenKey};
