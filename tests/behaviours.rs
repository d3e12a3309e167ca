//! What saves and queries promise, on the reference backends.
