//! Payloads to bytes and back.

pub(crate) mod contract;
pub(crate) mod encoded_payloads;
mod json;
mod postcard;
mod raw;
mod versioned;

pub use contract::{Codec, CodecError};
pub use json::Json;
pub use postcard::Postcard;
pub use raw::{RawCodec, RawPayload};
pub use versioned::Versioned;
