//! The `git-history` example, against git itself.
