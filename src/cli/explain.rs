//! `ibid explain`: whether a command would be a hit, and if not, the first thing that differs; or why compiles of the past
//! missed (`past.rs`). It compiles nothing.

pub(super) mod past;

use std::io::{self, Write};

use serde_json::json;

use super::args::Explain;
use super::reasons::in_short;
use crate::wrapper::{self, Explanation};

/// Prints one line, or one JSON object; the status is 0 for a hit and a miss alike.
pub fn run(asked: &Explain, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    if asked.last.is_some() || asked.build.is_some() {
        return past::run(asked, stdout, stderr);
    }
    let Explanation { is_hit, because, reason } = wrapper::explain(asked.tool_line.clone());
    let verdict = if is_hit { "hit" } else { "miss" };
    if asked.json {
        let all = json!({ "verdict": verdict, "because": because, "reason": reason });
        writeln!(stdout, "{all:#}")?;
        return Ok(0);
    }
    let reason = reason.map_or_else(String::new, |name| match in_short(name) {
        Some(meaning) => format!(" ({name}): {meaning}"),
        None => format!(" ({name})"),
    });
    writeln!(stdout, "{verdict} {because}{reason}")?;
    Ok(0)
}
