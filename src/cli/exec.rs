//! `ibid exec --check`: whether a command repeats itself, and if not, what differs. Nothing is stored or served.
//!
//! Without `--check` a command has gone to the wrapper. Read next: `wrapper/check.rs`.

use std::io::{self, Write};

use super::BAD_USAGE;
use super::args::ToolLine;
use crate::wrapper::{self, Checked};

/// The status of a command that is not there.
const NOT_FOUND: u8 = 127;
/// The status where nothing can be said.
const UNKNOWN: u8 = 3;

/// Prints a verdict and what belongs to it; the status is 0, 1 or 3, see README.md.
pub fn run(asked: &ToolLine, stdout: &mut dyn Write) -> io::Result<u8> {
    if !asked.check {
        return Ok(BAD_USAGE);
    }
    let Checked { repeats, is_found, lines } = wrapper::check(asked.tool_line.clone());
    let (verdict, status) = match repeats {
        Some(true) => ("repeats itself", 0),
        Some(false) => ("does not repeat itself", 1),
        None => ("cannot be said", if is_found { UNKNOWN } else { NOT_FOUND }),
    };
    writeln!(stdout, "{verdict}")?;
    for line in lines {
        writeln!(stdout, "  {line}")?;
    }
    Ok(status)
}
