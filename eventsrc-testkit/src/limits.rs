//! Time limits.

use std::time::Duration;

/// Time limit that ends a rule or a run that hangs. It is no performance threshold, because a busy machine may be slow.
pub(crate) const HANG: Duration = Duration::from_mins(10);
