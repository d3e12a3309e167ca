//! Tokens: streams and sequences that an answer was built from. A caller passes a [`Token`] to a reader ("at least as
//! new as this") or to a writer ("only if nothing changed since"); [`TokenCodec`] gives it a signed text form.

mod set;
mod text;

pub use set::{Token, TokenPosition};
pub use text::{TokenCodec, TokenError, TokenKey};
