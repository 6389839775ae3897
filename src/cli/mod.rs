//! The subcommands: each is one file with one `run`, which writes to the handles it is given and returns.
//!
//! Nothing here exits or runs a build's compiler; that is `main.rs` and `wrapper`. Read next: `args.rs`.

pub mod args;
pub mod causes;
pub mod clear;
pub mod completions;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod exec;
pub mod explain;
pub mod export;
pub mod gc;
pub mod import;
pub mod install;
pub mod monitor;
pub mod progress;
pub mod reasons;
pub mod remote;
pub mod report;
pub mod stats;
pub mod texts;
pub mod times;
pub mod verify;
pub mod words;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::Parser;

use args::Line;
pub use args::SubcommandArgs;
pub use words::is_ours;

use crate::env;

/// The status of a command line that cannot be understood.
pub const BAD_USAGE: u8 = 2;

/// The subcommands' names: building clap's table would cost every miss a tenth of a millisecond.
pub const SUBCOMMANDS: [&str; 17] = [
    "exec",
    "stats",
    "explain",
    "clear",
    "doctor",
    "gc",
    "verify",
    "export",
    "import",
    "remote",
    "report",
    "monitor",
    "config",
    "install",
    "uninstall",
    "demo",
    "completions",
];

/// Understands the arguments, our own name first; `Err` is the exit status, and what is to be said has been said.
pub fn parse(
    words: &[OsString],
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> Result<SubcommandArgs, u8> {
    if words.len() < 2 {
        let _ = writeln!(stderr, "ibid: no compiler and no subcommand is named; try `ibid --help`");
        return Err(BAD_USAGE);
    }
    if let Some(meant) = words::slip(words) {
        let word = words[1].to_string_lossy().escape_debug().to_string();
        let _ = writeln!(
            stderr,
            "ibid: no subcommand `{word}`; is it `{meant}`? (to run it: `ibid exec {word}`)"
        );
        return Err(BAD_USAGE);
    }
    if let Some(command) = words::old_habit(words) {
        return Ok(command);
    }
    let error = match Line::try_parse_from(words) {
        Ok(line) => return Ok(line.command),
        Err(error) => error,
    };
    if error.use_stderr() && words::is_compile(&words[1..]) {
        let _ = writeln!(stderr, "{}", words::NO_COMPILER);
        return Err(BAD_USAGE);
    }
    let text = error.render().to_string();
    if error.use_stderr() {
        let _ = writeln!(stderr, "ibid: {}", words::in_one_line(&text, &words[1..]));
        return Err(BAD_USAGE);
    }
    Err(status(stdout.write_all(text.as_bytes()).map(|()| 0), stderr))
}

/// Whether there is a file of this name on `PATH`.
fn on_path(name: &str) -> bool {
    let path = env::get(env::PATH).unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// Says in one line why a subcommand cannot do its work with what it was given (a directory, a file, a setting), and gives
/// its status.
fn refuse(why: &dyn std::fmt::Display, stderr: &mut dyn Write) -> io::Result<u8> {
    writeln!(stderr, "ibid: {why}")?;
    Ok(BAD_USAGE)
}

/// Says in one line what went wrong in the work itself, and gives its status.
fn fail(why: &dyn std::fmt::Display, stderr: &mut dyn Write) -> io::Result<u8> {
    writeln!(stderr, "ibid: {why}")?;
    Ok(1)
}

/// The exit status of a subcommand; a reader that has gone away (`ibid stats | head`) is no failure. Errors with words of
/// ours are about a file that was named, those of the system alone about our own output.
pub fn status(result: io::Result<u8>, stderr: &mut dyn Write) -> u8 {
    match result {
        Ok(status) => status,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            let _ = writeln!(stderr, "ibid: {error}");
            if error.get_ref().is_some() { BAD_USAGE } else { 1 }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::CommandFactory;

    use super::args::Line;
    use super::{BAD_USAGE, parse};

    #[test]
    fn the_names_are_those_of_the_table() {
        let line = Line::command();
        let names: Vec<_> = line.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(names, super::SUBCOMMANDS);
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_definition_is_sound() {
        Line::command().debug_assert();
    }

    #[test]
    fn a_refusal_is_one_line() {
        for (line, expected) in [
            ("ibid", "no compiler and no subcommand is named; try `ibid --help`"),
            ("ibid --wrong", "unexpected argument '--wrong' found; try `ibid --help`"),
            (
                "ibid stats --jsno",
                "unexpected argument '--jsno' found; tip: a similar argument exists: '--json'; try `ibid stats --help`",
            ),
            (
                "ibid config set max_size",
                "the following required arguments were not provided: <VALUE>; try `ibid config --help`",
            ),
            (
                "ibid stats --format xml",
                "invalid value 'xml' for '--format <FORMAT>' [possible values: text, json, prometheus, sccache]; \
                 try `ibid stats --help`",
            ),
            (
                "ibid gc --max-size 10",
                "invalid value '10' for '--max-size <SIZE>': `10` has no unit: write `10G`; try `ibid gc --help`",
            ),
            (
                "ibid stats \u{1b}[31m\nmore",
                "unexpected argument ' more' found; try `ibid stats --help`",
            ),
        ] {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            assert_eq!(parse(&words(line), &mut out, &mut err).err(), Some(BAD_USAGE), "{line}");
            assert!(out.is_empty());
            assert_eq!(String::from_utf8(err).expect("text"), format!("ibid: {expected}\n"));
        }
    }

    #[test]
    fn a_tool_line_keeps_its_options() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let line = words("ibid explain --json -- gcc --version -o x");
        let Ok(super::SubcommandArgs::Explain(explain)) = parse(&line, &mut out, &mut err) else {
            panic!("not understood");
        };
        assert_eq!(explain.tool_line, words("gcc --version -o x"));
        assert!(explain.json);
    }
}
