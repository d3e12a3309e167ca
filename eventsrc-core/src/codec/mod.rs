//! Codecs, which encode payloads as bytes: [`Json`] and [`Postcard`], [`Kinds`] and [`Versioned`] for payloads that change over
//! time, and [`RawCodec`] for programs that copy payloads without decoding them.

mod checked;
pub(crate) mod contract;
pub(crate) mod encoded_payloads;
mod json;
mod kinds;
mod postcard;
mod raw;
mod read_back;
mod tagged;
mod versioned;

pub use checked::{Sampled, Unchecked};
pub use contract::{Codec, CodecError};
pub use json::Json;
pub use kinds::{Kind, Kinds};
pub use postcard::Postcard;
pub use raw::{RawCodec, RawPayload};
pub use versioned::Versioned;
