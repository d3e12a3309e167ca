//! Readiness of a server that speaks HTTP.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Returns true if the process `server`, and no other, answers at `port` of 127.0.0.1, with any status.
pub(super) async fn answers(server: u32, port: u16) -> bool {
    // The kernel's tables are long, so they are read only after a process has accepted a connection.
    let Ok(connection) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return false };
    listens(server, port) && answers_http(connection).await.unwrap_or(false)
}

/// Returns true if `server` is the process that listens on `port`. Without `/proc`, returns true.
fn listens(server: u32, port: u16) -> bool {
    let process = Path::new("/proc").join(server.to_string());
    if !Path::new("/proc/self/net/tcp").exists() {
        return true;
    }
    let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(process.join("net").join(table)));
    let sockets: Vec<_> = tables
        .iter()
        .flatten()
        .flat_map(|table| table.lines())
        .filter_map(|line| socket(line, port))
        .collect();
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    files
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|file| sockets.iter().any(|socket| file.as_os_str() == socket.as_str()))
}

/// Returns the name of the socket in a line of the kernel's table, if the socket listens on `port`.
fn socket(line: &str, port: u16) -> Option<String> {
    let mut fields = line.split_whitespace();
    let (local, state) = (fields.nth(1)?, fields.nth(1)?);
    let inode = fields.nth(5)?;
    (local.ends_with(&format!(":{port:04X}")) && state == LISTENING).then(|| format!("socket:[{inode}]"))
}

/// Returns true if a request gets a status line.
async fn answers_http(mut connection: TcpStream) -> io::Result<bool> {
    connection.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut status = [0; STATUS_LINE.len()];
    connection.read_exact(&mut status).await?;
    Ok(status == *STATUS_LINE)
}

const LISTENING: &str = "0A";

const STATUS_LINE: &[u8; 7] = b"HTTP/1.";

#[cfg(test)]
mod tests {
    use std::process::{self, Command, Stdio};

    use tokio::net::TcpListener;

    use super::*;

    /// Sends `reply` to every client, at the returned port.
    async fn serve(reply: &'static [u8]) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = connection.read(&mut request).await;
                let _ = connection.write_all(reply).await;
            }
        });
        port
    }

    #[tokio::test]
    async fn any_status_is_an_answer() {
        let port = serve(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        assert!(answers(process::id(), port).await);
    }

    #[tokio::test]
    async fn an_answer_without_http_does_not_count() {
        let (other, silent) = (serve(b"SSH-2.0-OpenSSH_9.2\r\n").await, serve(b"").await);
        assert!(!answers(process::id(), other).await);
        assert!(!answers(process::id(), silent).await);
    }

    #[tokio::test]
    async fn an_answer_of_another_process_does_not_count() {
        let port = serve(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let mut other = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(!answers(other.id(), port).await);
        drop(other.stdin.take());
        other.wait().unwrap();
        assert!(!answers(other.id(), port).await, "an ended process does not answer");
    }

    #[tokio::test]
    async fn a_port_that_nothing_listens_on_does_not_answer() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listens(process::id(), port));
        drop(listener);
        assert!(!answers(process::id(), port).await);
    }
}
