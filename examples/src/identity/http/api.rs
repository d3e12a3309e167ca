//! The state that requests share.

use std::sync::Arc;

use axum::extract::State;
use eventsrc_core::Synchronizer;
use eventsrc_core::token::TokenCodec;

use crate::identity::service::Service;
use crate::identity::storages::Storages;
use crate::identity::views::ViewQueries;

/// Everything that answers requests.
pub struct Api<S: Storages, V: ViewQueries> {
    /// Carries out commands.
    pub service: Service<S>,
    /// Answers queries from the view, at least as new as a token.
    pub synchronizer: Synchronizer<V>,
    /// Signs tokens, and verifies those of requests.
    pub tokens: TokenCodec,
}

/// The API, as handlers extract it.
pub(super) type Shared<S, V> = State<Arc<Api<S, V>>>;
