//! A connection to a server that can be held in each direction separately.

use std::net::{Ipv4Addr, SocketAddr};

use eventsrc_tests::HANG;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A proxy that forwards bytes unless the direction is held. It closes on drop.
pub(super) struct HeldConnection {
    address: SocketAddr,
    server: SocketAddr,
    questions: watch::Sender<bool>,
    answers: watch::Sender<bool>,
    /// Number of held messages of the client.
    held: watch::Sender<usize>,
    listens: JoinHandle<()>,
}

impl HeldConnection {
    pub(super) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (questions, answers) = (watch::Sender::new(true), watch::Sender::new(true));
        let (asks, tells, held) = (questions.subscribe(), answers.subscribe(), watch::Sender::new(0));
        let holds = held.clone();
        let listens = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = TcpStream::connect(server).await.unwrap().into_split();
                tokio::spawn(forward(from_client, to_server, asks.clone(), holds.clone()));
                tokio::spawn(forward(from_server, to_client, tells.clone(), watch::Sender::new(0)));
            }
        });
        Self { address, server, questions, answers, held, listens }
    }

    /// `url` through the gate.
    pub(super) fn url(&self, url: &str) -> String {
        url.replace(&self.server.to_string(), &self.address.to_string())
    }

    /// Forwards the messages of the client if `pass`, and holds them otherwise.
    pub(super) fn forward_requests(&self, pass: bool) {
        self.questions.send_replace(pass);
    }

    /// Waits until a message of the client is held.
    pub(super) async fn until_request_held(&self) {
        timeout(HANG, self.held.subscribe().wait_for(|held| *held > 0))
            .await
            .expect("it has to ask")
            .unwrap();
    }

    /// Forwards the messages of the server if `pass`, and holds them otherwise.
    pub(super) fn forward_replies(&self, pass: bool) {
        self.answers.send_replace(pass);
    }
}

impl Drop for HeldConnection {
    fn drop(&mut self) {
        self.listens.abort();
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut passes: watch::Receiver<bool>,
    held: watch::Sender<usize>,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if !*passes.borrow() {
            held.send_modify(|held| *held += 1);
            let ended = passes.wait_for(|passes| *passes).await.is_err();
            held.send_modify(|held| *held -= 1);
            if ended {
                break;
            }
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            break;
        }
    }
}
