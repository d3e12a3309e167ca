//! Laws that hold for all values, as properties.

mod codecs;
mod merged;
mod sequences;
mod tokens;
