//! Histories of racing writers, checked exactly.

mod general;
mod races;
mod random;
