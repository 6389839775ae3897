//! The binary: before libc the probe, after it the wrapper or a subcommand; the only exit.
//!
//! libc calls `main` without Rust's runtime between, whose start (it looks for the stack's end in `/proc`) takes as long
//! as a fifth of a whole hit. Read next: `entry/mod.rs` (before libc), `wrapper/mod.rs` (a tool), `cli/mod.rs` (a subcommand).

#![no_main]

#[cfg(ibid_entry)]
mod entry;

use std::ffi::OsString;
use std::io;

use ibid::cli::{self, SubcommandArgs};
use ibid::env;
use ibid::probe::Before;
use ibid::probe::command::Call;
use ibid::shm::start::start_from;
use ibid::wrapper;

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    ibid::os::begin();
    // It writes out what standard output still holds.
    std::process::exit(i32::from(run(&env::args())))
}

fn run(words: &[OsString]) -> u8 {
    let start = start_from(words.iter().cloned(), env::all());
    let call = Call::read(&start);
    let is_subcommand =
        !call.is_some_and(|call| call.masquerade || call.forced) && cli::is_ours(words);
    match call {
        Some(call) if !is_subcommand => wrapper::run(start, call, before()),
        _ => subcommand(words),
    }
}

/// What happened before libc started.
fn before() -> Before {
    #[cfg(ibid_entry)]
    return entry::before();
    #[cfg(not(ibid_entry))]
    Before::NotLooked
}

fn subcommand(words: &[OsString]) -> u8 {
    let (mut stdout, mut stderr) = (io::stdout().lock(), io::stderr().lock());
    let result = match cli::parse(words, &mut stdout, &mut stderr) {
        Err(status) => return status,
        Ok(SubcommandArgs::Exec(asked)) => cli::exec::run(&asked, &mut stdout),
        Ok(SubcommandArgs::Stats(asked)) => cli::stats::run(&asked, &mut stdout, &mut stderr),
        Ok(SubcommandArgs::Explain(asked)) => cli::explain::run(&asked, &mut stdout, &mut stderr),
        Ok(SubcommandArgs::Clear) => cli::clear::run(&mut stdout, &mut stderr),
        Ok(SubcommandArgs::Doctor(asked)) => cli::doctor::run(&asked, &mut stdout),
        Ok(SubcommandArgs::Gc(asked)) => cli::gc::run(&asked, &mut stdout, &mut stderr),
        Ok(SubcommandArgs::Verify(asked)) => cli::verify::run(&asked, &mut stdout, &mut stderr),
        Ok(SubcommandArgs::Export(asked)) => cli::export::run(&asked, &mut stdout, &mut stderr),
        Ok(SubcommandArgs::Import(asked)) => cli::import::run(&asked, &mut stdout, &mut stderr),
        Ok(SubcommandArgs::Remote(asked)) => cli::remote::run(&asked, &mut stdout, &mut stderr),
        Ok(SubcommandArgs::Report(asked)) => cli::report::run(&asked, &mut stdout, &mut stderr),
        Ok(SubcommandArgs::Monitor) => cli::monitor::run(&mut stdout, &mut stderr),
        Ok(SubcommandArgs::Config(asked)) => cli::config::run(&asked, &mut stdout, &mut stderr),
        Ok(SubcommandArgs::Install(asked)) => cli::install::run(&asked, &mut stdout, &mut stderr),
        Ok(SubcommandArgs::Uninstall(asked)) => {
            cli::install::uninstall(&asked, &mut stdout, &mut stderr)
        }
        Ok(SubcommandArgs::Demo) => cli::demo::run(&mut stdout, &mut stderr),
        Ok(SubcommandArgs::Completions(asked)) => cli::completions::run(&asked, &mut stdout),
    };
    cli::status(result, &mut stderr)
}
