//! Parsing of the conversation between a Postgres and its client, version 3 of the protocol.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, BufReader};

use super::faults::{Faults, Moment};
use super::lane::{Lane, copy};

/// Returns true if a statement, or one of several in one text, is a plain COMMIT or END.
pub fn is_commit(statement: &str) -> bool {
    let is_plain = |part: &str| ["COMMIT", "END"].iter().any(|word| part.trim().eq_ignore_ascii_case(word));
    statement.split(';').any(is_plain)
}

/// Forwards both directions, and cuts the connection at the statements that a rule matches.
pub(super) async fn forward(
    faults: &Faults,
    from_client: impl AsyncRead + Unpin,
    mut to_server: Lane<impl AsyncWrite + Unpin>,
    from_server: impl AsyncRead + Unpin,
    mut to_client: Lane<impl AsyncWrite + Unpin>,
) -> io::Result<()> {
    let mut from_client = BufReader::new(from_client);
    let mut from_server = BufReader::new(from_server);
    loop {
        let packet = read_sized(&mut from_client, Vec::new()).await?;
        to_server.send(&packet).await?;
        if !packet[4..].starts_with(&SSL_REQUEST) && !packet[4..].starts_with(&GSS_REQUEST) {
            break;
        }
        let encrypts = from_server.read_u8().await?;
        to_client.send(&[encrypts]).await?;
        if encrypts != b'N' {
            return tokio::try_join!(copy(from_client, to_server), copy(from_server, to_client)).map(drop);
        }
    }
    let session = Session::new();
    tokio::try_join!(
        session.forward_requests(faults, from_client, to_server),
        session.forward_answers(faults, from_server, to_client)
    )
    .map(drop)
}

/// Codes of the packets that request encryption. They precede all other packets.
const SSL_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();
const GSS_REQUEST: [u8; 4] = 80_877_104_u32.to_be_bytes();

/// State of one session that both directions share.
struct Session(Mutex<Requests>);

/// The requests of the client.
#[derive(Default)]
struct Requests {
    /// Text of each prepared statement, by its name.
    statements: HashMap<Vec<u8>, String>,
    /// Text of the statement of each portal, by its name.
    portals: HashMap<Vec<u8>, String>,
    /// Number of `ReadyForQuery` messages that the server owes so far. The first one needs no request.
    readies: u64,
    /// Number of these that are due to a Sync after the latest statement.
    syncs: u64,
    /// Number of the `ReadyForQuery` message that must not arrive, together with the messages before it.
    lost: Option<u64>,
}

impl Session {
    fn new() -> Self {
        Self(Mutex::new(Requests { readies: 1, ..Requests::default() }))
    }

    /// Forwards the messages of the client.
    async fn forward_requests(
        &self,
        faults: &Faults,
        mut from: impl AsyncRead + Unpin,
        mut to: Lane<impl AsyncWrite + Unpin>,
    ) -> io::Result<()> {
        while let Some(message) = read_message(&mut from).await? {
            if self.is_to_cut_before(faults, &message) {
                faults.count(|injected| &mut injected.undelivered);
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            to.send(&message).await?;
        }
        to.end().await
    }

    /// Forwards the messages of the server.
    async fn forward_answers(
        &self,
        faults: &Faults,
        mut from: impl AsyncRead + Unpin,
        mut to: Lane<impl AsyncWrite + Unpin>,
    ) -> io::Result<()> {
        let mut readies = 0;
        let mut held = Vec::new();
        while let Some(message) = read_message(&mut from).await? {
            let is_ready = message[0] == READY_FOR_QUERY;
            if self.lock().lost == Some(readies + 1) {
                if is_ready {
                    faults.count(|injected| &mut injected.answered);
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                held.extend_from_slice(&message);
                if message[0] == COPY_IN_RESPONSE {
                    // This is not the answer. The client waits for it before it sends the rest of the request.
                    to.send(&held).await?;
                    held.clear();
                }
                continue;
            }
            readies += u64::from(is_ready);
            to.send(&message).await?;
        }
        to.end().await
    }

    /// Records a message of the client. Returns true if the connection must be cut before the message is delivered.
    fn is_to_cut_before(&self, faults: &Faults, message: &[u8]) -> bool {
        let mut requests = self.lock();
        let Some((statement, ready)) = requests.record(message) else { return false };
        if requests.lost.is_some() {
            return false;
        }
        match faults.moment(&statement) {
            Some(Moment::Undelivered) => return true,
            Some(Moment::Answered) => requests.lost = Some(ready),
            None => {}
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Requests {
    /// Records a message. Returns the statement that it executes, and the number of the `ReadyForQuery` message that
    /// follows its answer.
    fn record(&mut self, message: &[u8]) -> Option<(String, u64)> {
        let mut body = message.get(5..).unwrap_or_default();
        match message[0] {
            b'Q' => {
                self.readies += 1;
                self.syncs = 0;
                return Some((text(&mut body), self.readies));
            }
            b'P' => {
                let name = bytes(&mut body);
                self.statements.insert(name, text(&mut body));
            }
            b'B' => {
                let portal = bytes(&mut body);
                let statement = self.statements.get(&bytes(&mut body)).cloned().unwrap_or_default();
                self.portals.insert(portal, statement);
            }
            b'E' => {
                self.syncs = 0;
                let statement = self.portals.get(&bytes(&mut body)).cloned().unwrap_or_default();
                return Some((statement, self.readies + 1));
            }
            b'S' => {
                self.readies += 1;
                self.syncs += 1;
            }
            b'F' => self.readies += 1,
            // The end of a COPY from the client, which the latest statement started. The server ignores a Sync in between.
            b'c' | b'f' => {
                self.readies -= self.syncs;
                self.syncs = 0;
            }
            _ => {}
        }
        None
    }
}

const READY_FOR_QUERY: u8 = b'Z';
const COPY_IN_RESPONSE: u8 = b'G';

/// Reads a message: its kind, its length and its body. Returns `None` at the end.
async fn read_message(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut kind = [0];
    if from.read(&mut kind).await? == 0 {
        return Ok(None);
    }
    read_sized(from, kind.to_vec()).await.map(Some)
}

/// Reads a length, which counts itself, and a body of that length. Appends both to `read`.
async fn read_sized(from: &mut (impl AsyncRead + Unpin), mut read: Vec<u8>) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let body = length.checked_sub(4).ok_or(io::ErrorKind::InvalidData)?;
    read.extend(length.to_be_bytes());
    if from.take(body.into()).read_to_end(&mut read).await? as u64 == u64::from(body) {
        return Ok(read);
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Takes a zero-terminated string from the front.
fn bytes(body: &mut &[u8]) -> Vec<u8> {
    let end = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
    let string = body[..end].to_vec();
    *body = body.get(end + 1..).unwrap_or_default();
    string
}

fn text(body: &mut &[u8]) -> String {
    String::from_utf8_lossy(&bytes(body)).into_owned()
}
