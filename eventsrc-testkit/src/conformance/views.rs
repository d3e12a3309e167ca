//! The contract of views, sentence by sentence, and the rules that check each.
//!
//! A rule is an `async fn` whose name says what has to hold, in the module of its kind. The rules apply
//! commits of [`ViewSample`]s, each of which says what the code of the test view is to do; every row keeps what was written
//! to it, so that a commit that is applied twice, left out or out of order shows. A backend author writes the test view
//! for the database, and says how it is opened and read:
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex};
//!
//! use eventsrc_core::{Event, MemoryView, Place, StorageError, StreamName, ViewDefinition, ViewError};
//! use eventsrc_testkit::conformance::{
//!     self, SampleKey, ViewBackend, ViewCapabilities, ViewRows, ViewSample,
//! };
//! use futures::FutureExt;
//! use futures::future::BoxFuture;
//!
//! struct Memory;
//!
//! type Store = Arc<MemoryView<SampleKey, u64, ViewSample, ViewRows>>;
//!
//! /// The code of the test view.
//! fn apply(rows: &mut ViewRows, event: Event<'_, SampleKey, u64, ViewSample>) -> Result<(), ViewError> {
//!     for line in ViewSample::lines(&event) {
//!         let line = line?;
//!         // A map has no rules that a line could break.
//!         rows.entry(line.name).or_default().push_str(&line.text.unwrap_or_default());
//!     }
//!     Ok(())
//! }
//!
//! impl ViewBackend for Memory {
//!     type Store = Store;
//!     type Place = Mutex<HashMap<ViewDefinition, Store>>;
//!
//!     fn capabilities(&self) -> ViewCapabilities {
//!         ViewCapabilities { has_rules: false, has_rules_at_the_end: false, can_be_interrupted: false }
//!     }
//!
//!     async fn create(&self) -> Self::Place {
//!         Mutex::default()
//!     }
//!
//!     async fn open(&self, place: &Self::Place, definition: &ViewDefinition) -> Store {
//!         let mut views = place.lock().unwrap();
//!         let new = || Arc::new(MemoryView::new(definition.clone(), apply));
//!         Arc::clone(views.entry(definition.clone()).or_insert_with(new))
//!     }
//!
//!     async fn rows(&self, store: &Store) -> Result<ViewRows, StorageError> {
//!         Ok(store.read(&[], ViewRows::clone).1)
//!     }
//!
//!     async fn read(
//!         &self,
//!         store: &Store,
//!         streams: &[StreamName],
//!     ) -> Result<(Vec<Place<u64>>, ViewRows), StorageError> {
//!         Ok(store.read(streams, ViewRows::clone))
//!     }
//!
//!     async fn interrupt(&self, _: &Self::Place) -> BoxFuture<'static, ()> {
//!         std::future::ready(()).boxed()
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let backend = Arc::new(Memory);
//! conformance::views(&backend).await.assert_kept();
//! # });
//! ```

use std::sync::Arc;

use super::contract::rules;
use super::report::{Report, Rule, Suite};

pub mod applying;
mod backend;
mod sample;
mod trial;

pub use backend::{ViewBackend, ViewCapabilities, ViewRows, ViewSequenceOf};
pub use sample::{Line, ViewSample};
pub use trial::{RunOf, ViewCommitOf, ViewHandle, ViewTrial};

/// Holds a store for views against the contract of [`ViewStore`](eventsrc_core::ViewStore).
pub async fn views<B: ViewBackend>(backend: &Arc<B>) -> Report {
    view_suite().run(backend).await
}

/// The rules of [`ViewStore`](eventsrc_core::ViewStore).
pub fn view_suite<B: ViewBackend>() -> Suite<B> {
    Suite::new(applying_rules())
}

fn applying_rules<B: ViewBackend>() -> Vec<Rule<B>> {
    rules! { ViewTrial;
        "A batch is applied whole or not at all: rows and positions of all its streams." => applying [
            a_batch_moves_rows_and_positions,
            a_batch_of_several_streams_moves_them_all,
            a_batch_applies_many_commits_of_a_stream_in_order,
            batches_go_on_where_the_last_one_ended,
            a_batch_has_new_streams_and_old_ones,
            a_commit_of_1000_events_is_applied,
            a_batch_of_1000_streams_moves_them_all,
            events_that_change_no_row_move_the_position,
            streams_may_share_rows,
            rows_have_texts_of_every_kind,
            a_position_is_the_sequence_of_the_last_event,
            an_answer_is_what_happened,
            an_empty_batch_changes_nothing,
            a_reader_never_sees_a_part_of_a_batch,
            a_reader_through_another_handle_never_sees_a_part_of_a_batch,
        ];
        "A stream that was never applied has no position." => applying [
            a_stream_of_a_similar_name_does_not_move,
        ];
    }
}
