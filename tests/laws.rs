//! Laws that hold for all values, as property tests.

mod codecs;
mod merged;
mod sequences;
mod tokens;
