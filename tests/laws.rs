//! Laws that hold for all values, as properties.
