//! Histories of racing writers, checked exactly.

mod general;
mod messages;
mod races;
mod random;
