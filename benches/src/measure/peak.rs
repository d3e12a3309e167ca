//! Peak memory of a process.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// Returns the peak resident memory, in bytes, of the child of `benchmark` with these arguments.
pub(crate) fn of_child(benchmark: &str, arguments: &[&str]) -> Result<u64> {
    let mut child = Command::new(std::env::current_exe()?);
    let output = child.args(["child", benchmark]).args(arguments).output()?;
    if !output.status.success() {
        bail!("the child of {benchmark} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout)?.trim().parse().context("the child did not print its peak memory")
}

/// Returns the peak resident memory of this process so far, in bytes.
pub(crate) fn of_this_process() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")
        .context("the peak memory of a process is available on Linux only")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix("kB")).context("no VmHWM in the status")?;
    Ok(kilobytes.trim().parse::<u64>()? * 1024)
}
