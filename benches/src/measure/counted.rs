//! Instructions, counted exactly by callgrind.
//!
//! The program runs itself once more under valgrind, as the child of a benchmark. Only what happens inside of
//! [`region`] is counted, so that the child can build what it needs first.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// Runs the part of a child that is counted.
#[inline(never)]
pub(crate) fn region<T>(part: impl FnOnce() -> T) -> T {
    // Keeps the call from being the function's last, or it would become a jump that callgrind does not see return.
    std::hint::black_box(part())
}

/// The instructions that `child` of `benchmark`, run with `arguments`, executes inside of [`region`].
pub(crate) fn instructions(benchmark: &str, arguments: &[&str]) -> Result<u64> {
    let place = tempfile::tempdir()?;
    let counts = place.path().join("callgrind.out");
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
        _ => bail!("nothing was counted for {benchmark}: is the program built without symbols?"),
    }
}
