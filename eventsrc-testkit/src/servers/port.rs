//! Ports for servers that are told where to listen.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use rand::RngExt;
use rand::rngs::StdRng;

/// A port of 127.0.0.1 on which nothing listens at the moment.
///
/// It is below those that outgoing connections are given: otherwise, while a server is down, one of its clients could
/// take its port, or even reach itself.
pub(crate) fn free_port() -> io::Result<u16> {
    let mut draws: StdRng = rand::make_rng();
    let mut tried = Err(io::ErrorKind::AddrInUse.into());
    for _ in 0..TRIES {
        let port = draws.random_range(10_000..32_768);
        tried = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(|_| port);
        if tried.is_ok() {
            break;
        }
    }
    tried
}

const TRIES: u32 = 100;
