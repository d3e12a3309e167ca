//! What is left of a server when its process has to go.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A new folder for the files of one server; on drop, the server is ended and the folder removed.
///
/// A small shell does that, once its standard input ends. That is so on drop, and as well when this process is killed or
/// leaves a static behind: then there is no drop, and no server may live on.
pub(super) struct GuardedFolder {
    path: PathBuf,
    guard: Child,
}

impl GuardedFolder {
    /// Makes the folder within `parent`; `signal` is what tells a server in it to end at once.
    pub(super) fn new(parent: &Path, signal: &str) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("eventsrc-").tempdir_in(parent)?;
        let path = folder.path().canonicalize()?;
        let mut command = Command::new("sh");
        command.arg("-c").arg(GUARD).arg("guard").arg(&path).arg(signal);
        // A group of its own: the guard must outlive an interrupt from the keyboard.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let guard = command.spawn()?;
        let _ = folder.keep();
        Ok(Self { path, guard })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Says which process is the server from here on; `None` once it has ended, so that nothing else is ever signalled.
    pub(super) fn guard(&mut self, server: Option<&Child>) -> io::Result<()> {
        let line = server.map_or_else(|| "\n".to_owned(), |server| format!("{}\n", server.id()));
        self.guard.stdin.as_mut().map_or(Ok(()), |orders| orders.write_all(line.as_bytes()))
    }

    /// Ends `server` at once, and removes the folder.
    pub(super) fn remove(&mut self, server: Option<Child>) {
        drop(self.guard.stdin.take());
        // The guard waits for the server to be gone, which it is only once its parent has asked for its status.
        if let Some(mut server) = server {
            let _ = server.wait();
        }
        let _ = self.guard.wait();
    }
}

/// Ends the last process it was told of: by the given signal, and after five seconds by SIGKILL.
const GUARD: &str = r#"
server=
while read -r line; do server=$line; done
if [ -n "$server" ]; then
    kill -s "$2" "$server"
    tries=0
    while kill -s 0 "$server" && [ "$tries" -lt 250 ]; do
        sleep 0.02
        tries=$((tries + 1))
    done
    kill -s KILL "$server"
fi
rm -rf "$1"
"#;
