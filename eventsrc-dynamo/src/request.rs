//! Waiting for the answer of a request, with a deadline.

use std::pin::pin;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use futures::future::{Either, select};

use crate::dynamo::Dynamo;

impl Dynamo {
    /// Waits for the answer of `request`, for [`Settings::answer_timeout`](crate::Settings::answer_timeout) at most. All
    /// requests of this crate pass through here.
    pub(crate) async fn answer<T, E: ProvideErrorMetadata>(
        &self,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, SdkError<E, HttpResponse>> {
        let deadline = self.clock().sleep(self.settings().answer_timeout);
        let answer = match select(pin!(request), deadline).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(SdkError::timeout_error("the deadline of the request has passed")),
        };
        if answer.as_ref().is_err_and(|error| error.code() == Some("ResourceNotFoundException")) {
            self.forget_seen();
        }
        answer
    }
}
