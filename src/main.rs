//! The binary: before libc the probe, after it the wrapper or a subcommand; the only exit.

fn main() {}
