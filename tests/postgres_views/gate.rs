//! A way to a server that can be held up in each direction by itself.

use std::net::{Ipv4Addr, SocketAddr};

use eventsrc_tests::HANG;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Forwards bytes, unless it is told to hold them; on drop it is gone.
pub(super) struct Gate {
    address: SocketAddr,
    server: SocketAddr,
    questions: watch::Sender<bool>,
    answers: watch::Sender<bool>,
    /// How many pieces of what the client asks are held at the moment.
    held: watch::Sender<usize>,
    listens: JoinHandle<()>,
}

impl Gate {
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

    /// `url` by way of the gate.
    pub(super) fn url(&self, url: &str) -> String {
        url.replace(&self.server.to_string(), &self.address.to_string())
    }

    /// Whether what the client asks is forwarded.
    pub(super) fn let_questions(&self, pass: bool) {
        self.questions.send_replace(pass);
    }

    /// Waits until something that the client asks is held.
    pub(super) async fn until_asked(&self) {
        timeout(HANG, self.held.subscribe().wait_for(|held| *held > 0))
            .await
            .expect("it has to ask")
            .unwrap();
    }

    /// Whether what the server answers is forwarded.
    pub(super) fn let_answers(&self, pass: bool) {
        self.answers.send_replace(pass);
    }
}

impl Drop for Gate {
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
