//! The conditions of a run: machine, versions and load.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::paired::seconds;

/// Describes the machine in lines of text. `directory` is on the disk that the benchmarks write to.
pub(crate) fn describe(directory: &Path) -> Result<Vec<String>> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim().to_owned()))
        .unwrap_or_else(|| "unknown CPU".into());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    Ok(vec![
        format!("date: {}", output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        format!("CPU: {model}, {cores} cores; {}", output("uname", &["-sr"])),
        format!("fsync: {:.0} synced appends of 256 bytes a second before the run", syncs(directory)?),
        format!(
            "versions: eventsrc {}, commit {}; {}; SQLite {}; {}; {}",
            env!("CARGO_PKG_VERSION"),
            output("git", &["describe", "--always", "--dirty"]),
            output("rustc", &["--version"]),
            rusqlite::version(),
            output("psql", &["--version"]),
            output("valgrind", &["--version"]),
        ),
        "build: cargo's default release profile, no LTO, no target-cpu".into(),
        "durability: on both sides, on the same disk: WAL and synchronous=FULL in SQLite, fsync and synchronous_commit in Postgres".into(),
    ])
}

/// Returns the load average over one, five and fifteen minutes.
pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn syncs(directory: &Path) -> Result<f64> {
    let mut file = tempfile::tempfile_in(directory)?;
    const APPENDS: u32 = 500;
    let (seconds, ()) = seconds(|| {
        for _ in 0..APPENDS {
            file.write_all(&[7; 256])?;
            file.sync_data()?;
        }
        Ok(())
    })?;
    Ok(f64::from(APPENDS) / seconds)
}

fn output(program: &str, arguments: &[&str]) -> String {
    Command::new(program).args(arguments).output().map_or_else(
        |_| format!("{program} unknown"),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
