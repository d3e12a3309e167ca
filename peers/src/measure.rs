//! Time, and the conditions of a run: machine, versions and load.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;

/// A stopwatch.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "measuring time is what this module is for")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// Describes the machine in lines of text.
pub(crate) fn machine() -> Vec<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim().to_owned()))
        .unwrap_or_else(|| "unknown CPU".into());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        format!("date: {}", output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        format!("CPU: {model}, {cores} cores; {}", output("uname", &["-sr"])),
        format!(
            "commit {}; {}",
            output("git", &["describe", "--always", "--dirty"]),
            output("rustc", &["--version"])
        ),
        "build: cargo's default release profile, no LTO, no target-cpu".into(),
    ]
}

/// Returns the load average over one, five and fifteen minutes.
pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Measures the synced appends of 256 bytes a second on the disk of `directory`.
pub(crate) fn syncs(directory: &Path) -> Result<f64> {
    const APPENDS: u32 = 500;
    let mut file = tempfile::tempfile_in(directory)?;
    let watch = Stopwatch::start();
    for _ in 0..APPENDS {
        file.write_all(&[7; 256])?;
        file.sync_data()?;
    }
    Ok(f64::from(APPENDS) / watch.seconds())
}

fn output(program: &str, arguments: &[&str]) -> String {
    Command::new(program).args(arguments).output().map_or_else(
        |_| format!("{program} unknown"),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
