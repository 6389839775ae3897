//! `ibid explain`: whether a command would be a hit, and if not, the first thing that differs. It compiles nothing.

use std::io::{self, Write};

use serde_json::json;

use super::args::Explain;
use crate::wrapper;

/// Prints one line, or one JSON object; the status is 0 for a hit and a miss alike.
pub fn run(asked: &Explain, stdout: &mut dyn Write) -> io::Result<u8> {
    let explanation = wrapper::explain(asked.tool_line.clone());
    let verdict = if explanation.is_hit { "hit" } else { "miss" };
    if asked.json {
        writeln!(stdout, "{:#}", json!({ "verdict": verdict, "because": explanation.because }))?;
    } else {
        writeln!(stdout, "{verdict} {}", explanation.because)?;
    }
    Ok(0)
}
