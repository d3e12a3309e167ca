//! Histories of racing writers, checked exactly.
