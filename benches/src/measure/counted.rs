//! Exact instruction counts by callgrind.
//!
//! The program runs itself under valgrind, as the child of a benchmark. Only the code inside [`region`] is counted, so
//! the child can prepare its data first.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// Runs the part of a child that is counted.
#[inline(never)]
pub(crate) fn region<T>(part: impl FnOnce() -> T) -> T {
    // Prevents a tail call, which would be a jump whose return callgrind does not see.
    std::hint::black_box(part())
}

/// Returns the number of instructions that the child of `benchmark` executes inside [`region`] with these arguments.
pub(crate) fn instructions(benchmark: &str, arguments: &[&str]) -> Result<u64> {
    let folder = tempfile::tempdir()?;
    let counts = folder.path().join("callgrind.out");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--quiet", "--collect-atstart=no"])
        .arg("--toggle-collect=*counted*region*")
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(std::env::current_exe()?)
        .args(["child", benchmark])
        .args(arguments);
    let output = valgrind.output().context("cannot run valgrind")?;
    if !output.status.success() {
        bail!("the child of {benchmark} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let counts = std::fs::read_to_string(&counts).context("valgrind wrote no counts")?;
    let total = counts.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    match total {
        Some(total) if total > 0 => Ok(total),
        _ => bail!("callgrind counted nothing for {benchmark}; build the program with symbols"),
    }
}
