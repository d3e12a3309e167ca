//! Reading along what a Postgres and its client say, version 3 of the protocol.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, BufReader};

use super::connection::{Lane, copy};
use super::faults::{Faults, Moment};

/// Whether a statement, or one of several in one text, is a plain COMMIT or END.
pub fn is_commit(statement: &str) -> bool {
    let is_plain = |part: &str| ["COMMIT", "END"].iter().any(|word| part.trim().eq_ignore_ascii_case(word));
    statement.split(';').any(is_plain)
}

/// Forwards both ways, and cuts where a statement is one of those to cut.
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
        session.ask(faults, from_client, to_server),
        session.answer(faults, from_server, to_client)
    )
    .map(drop)
}

/// The codes of the packets that ask for encryption, which come before all others.
const SSL_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();
const GSS_REQUEST: [u8; 4] = 80_877_104_u32.to_be_bytes();

/// One session, as far as both ways have to know of each other.
struct Session(Mutex<Asked>);

/// What the client has asked for.
#[derive(Default)]
struct Asked {
    /// The text of each prepared statement, by its name.
    statements: HashMap<Vec<u8>, String>,
    /// The text behind each portal, by its name.
    portals: HashMap<Vec<u8>, String>,
    /// How many times the server is to say that it is ready; the first time, nobody asks for it.
    readies: u64,
    /// How many of these are due to a Sync after the latest statement.
    syncs: u64,
    /// Which of these is not to arrive, nor what comes before it.
    lost: Option<u64>,
}

impl Session {
    fn new() -> Self {
        Self(Mutex::new(Asked { readies: 1, ..Asked::default() }))
    }

    /// Forwards what the client asks.
    async fn ask(
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

    /// Forwards what the server answers.
    async fn answer(
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
                    // It is not the answer: only with it does the client send the rest of its question.
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

    /// Takes note of a message of the client; whether it may not be delivered.
    fn is_to_cut_before(&self, faults: &Faults, message: &[u8]) -> bool {
        let mut asked = self.lock();
        let Some((statement, ready)) = asked.note(message) else { return false };
        if asked.lost.is_some() {
            return false;
        }
        match faults.moment(&statement) {
            Some(Moment::Undelivered) => return true,
            Some(Moment::Answered) => asked.lost = Some(ready),
            None => {}
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    /// Takes note of a message; a statement that it executes, and which of the times that the server is ready follows it.
    fn note(&mut self, message: &[u8]) -> Option<(String, u64)> {
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
            // The end of a COPY from the client, which began with the latest statement: a Sync in between went unheard.
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

/// Reads a message: its kind, its length and its body. None at the end.
async fn read_message(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut kind = [0];
    if from.read(&mut kind).await? == 0 {
        return Ok(None);
    }
    read_sized(from, kind.to_vec()).await.map(Some)
}

/// Reads a length, which counts itself, and as many bytes; behind what was read before.
async fn read_sized(from: &mut (impl AsyncRead + Unpin), mut read: Vec<u8>) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let body = length.checked_sub(4).ok_or(io::ErrorKind::InvalidData)?;
    read.extend(length.to_be_bytes());
    if from.take(body.into()).read_to_end(&mut read).await? as u64 == u64::from(body) {
        return Ok(read);
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Takes a string, which ends with a zero, from the front.
fn bytes(body: &mut &[u8]) -> Vec<u8> {
    let end = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
    let string = body[..end].to_vec();
    *body = body.get(end + 1..).unwrap_or_default();
    string
}

fn text(body: &mut &[u8]) -> String {
    String::from_utf8_lossy(&bytes(body)).into_owned()
}
