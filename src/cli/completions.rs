//! `ibid completions SHELL`: the completion script, made from the one definition in `args.rs`.

use std::io::{self, Write};

use clap::CommandFactory;

use super::args::{Completions, Line};

/// Prints the script.
pub fn run(asked: &Completions, stdout: &mut dyn Write) -> io::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(asked.shell, &mut Line::command(), "ibid", &mut script);
    stdout.write_all(&script)?;
    Ok(0)
}
