//! A folder that is removed, and a server that is ended, when the owning process ends.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A new folder for the files of one server. On drop, the server is ended and the folder is removed.
///
/// A small shell process does both when its standard input is closed. Closing happens on drop, and also if this
/// process is killed or leaves the value in a static, where no drop runs.
pub(super) struct GuardedFolder {
    path: PathBuf,
    guard: Child,
}

impl GuardedFolder {
    /// Creates the folder in `parent`. `signal` names the signal that ends the server at once.
    pub(super) fn new(parent: &Path, signal: &str) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("eventsrc-").tempdir_in(parent)?;
        let path = folder.path().canonicalize()?;
        let mut command = Command::new("sh");
        command.arg("-c").arg(GUARD).arg("guard").arg(&path).arg(signal);
        // A process group of its own, because the guard must outlive an interrupt from the keyboard.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let guard = command.spawn()?;
        let _ = folder.keep();
        Ok(Self { path, guard })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Sets the process of the server. Set `None` when it has ended, so that no other process is ever signalled.
    pub(super) fn guard(&mut self, server: Option<&Child>) -> io::Result<()> {
        let line = server.map_or_else(|| "\n".to_owned(), |server| format!("{}\n", server.id()));
        self.guard.stdin.as_mut().map_or(Ok(()), |stdin| stdin.write_all(line.as_bytes()))
    }

    /// Ends `server` at once and removes the folder.
    pub(super) fn remove(&mut self, server: Option<Child>) {
        drop(self.guard.stdin.take());
        // The guard waits for the end of the server, which is a zombie until its parent waits for it.
        if let Some(mut server) = server {
            let _ = server.wait();
        }
        let _ = self.guard.wait();
    }
}

/// Ends the last process whose id it read: by the given signal, and after five seconds by SIGKILL.
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
