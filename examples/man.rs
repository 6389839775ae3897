//! `cargo run --example man -- DIR`: the man pages, made from the one definition of what can be typed (`src/cli/args.rs`).
//!
//! It is no part of the program, and neither is what it needs. `.ci/release` calls it.
#![allow(clippy::disallowed_methods, reason = "an example reads its own arguments")]

use std::io;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use ibid::cli::args::Line;

#[allow(dead_code, reason = "the tests use the rest of this file")]
fn main() -> io::Result<()> {
    let directory = std::env::args_os().nth(1).ok_or(io::Error::other("name a directory"))?;
    write_pages(Path::new(&directory))
}

/// Writes `ibid.1`, and a page for each subcommand that is shown.
pub fn write_pages(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let mut line = Line::command();
    line.build();
    write_page(&line, directory)?;
    line.get_subcommands()
        .filter(|command| !command.is_hide_set())
        .try_for_each(|command| write_page(command, directory))
}

fn write_page(command: &Command, directory: &Path) -> io::Result<()> {
    // `ibid-stats`: its own name alone would be that of a page of another program.
    let name = command.get_display_name().unwrap_or(command.get_name());
    let mut page = Vec::new();
    Man::new(command.clone()).title(name).manual("ibid").render(&mut page)?;
    std::fs::write(directory.join(format!("{name}.1")), page)
}
