//! HTTP requests, sent by the program `curl`.

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// A response of the service.
#[derive(Debug, Clone)]
pub(super) struct Response {
    /// The first line, such as `HTTP/1.1 200 OK`.
    pub(super) status: String,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Response {
    /// Returns the value of a header.
    pub(super) fn header(&self, name: &str) -> Result<&str> {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).with_context(|| format!("the response has no header {name}"))
    }

    /// True if the status is 2xx.
    pub(super) fn is_success(&self) -> bool {
        self.status.split(' ').nth(1).is_some_and(|code| code.starts_with('2'))
    }
}

/// Sends one request.
pub(super) async fn curl(arguments: &[&str]) -> Result<Response> {
    let output = Command::new("curl").arg("-sSi").args(arguments).kill_on_drop(true).output().await;
    let output = output.context("cannot run curl")?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "curl: {}", message.trim());
    let text = String::from_utf8(output.stdout)?.replace('\r', "");
    let (head, body) = text.split_once("\n\n").context("the head of the response has no end")?;
    let mut lines = head.lines();
    let status = lines.next().context("the response is empty")?.to_owned();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok(Response { status, headers, body: body.trim_end().to_owned() })
}
