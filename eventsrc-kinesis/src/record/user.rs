//! A key type for tests, with one category.

use std::borrow::Cow;

use eventsrc_core::StreamKey;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct User(pub(crate) String);

impl StreamKey for User {
    fn category(&self) -> &str {
        "user"
    }

    fn id(&self) -> Cow<'_, str> {
        self.0.as_str().into()
    }

    fn from_parts(category: &str, id: &str) -> Option<Self> {
        (category == "user").then(|| Self(id.into()))
    }
}
