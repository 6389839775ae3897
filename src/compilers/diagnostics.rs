//! Whether the text of a compiler that failed shows an error in its sources, which it will find again in the same sources.
//!
//! What fails for want of memory, space, descriptors, time or permission ends with status 1 as well, and prints the same text
//! twice. So at least one error must name a line of a source, no error may name none, and no line may show such a want. Where
//! in doubt it says no. The texts are those of an English compiler; a translated one is not understood.
//! Read next: `docs/failures.md`.

use std::borrow::Cow;

use serde_json::Value;

use super::Family;

/// What the text of a compiler must not contain, whatever its case: it, or a program that it ran, ended in another way than
/// by an error in a source, or may end otherwise on another day.
const OTHER_ENDS: &[&str] = &[
    "terminated",
    "killed",
    "aborted",
    "core dumped",
    "segmentation fault",
    "bus error",
    "due to signal",
    "stack dump",
    "stack overflow",
    "stack nearly exhausted",
    "please submit",
    "internal compiler error",
    "frontend command failed",
    "panicked",
    "llvm error",
    "error in backend",
    "out of memory",
    "memory exhausted",
    "bad_alloc",
    "cannot allocate",
    "memory allocation",
    "cannot execute",
    "unable to execute",
    "could not exec",
    "failed to spawn",
    "assembler messages",
    "ld returned",
    "linker command",
    "linking with",
    "collect2",
    "lto-wrapper",
    "error writing",
    "when writing",
    "failed to write",
    "unable to make temporary",
    "temporary file",
    "temporary directory",
    "timed out",
    "try again",
];

/// What `strerror` says of errors of the moment, and of those that depend on who asks. Not `No such file or directory`: what
/// is missing was observed to be, and is looked for again before the text is given again.
const ERRNO_TEXTS: &[&str] = &[
    "Operation not permitted",
    "Interrupted system call",
    "Input/output error",
    "No such device",
    "Argument list too long",
    "Exec format error",
    "Bad file descriptor",
    "No child processes",
    "Resource temporarily unavailable",
    "Cannot allocate memory",
    "Permission denied",
    "Bad address",
    "Device or resource busy",
    "Too many open files",
    "Text file busy",
    "File too large",
    "No space left on device",
    "Read-only file system",
    "Too many links",
    "Broken pipe",
    "Resource deadlock avoided",
    "File name too long",
    "No locks available",
    "Function not implemented",
    "Too many levels of symbolic links",
    "No data available",
    "Timer expired",
    "Communication error on send",
    "Protocol error",
    "Bad message",
    "Value too large for defined data type",
    "Too many users",
    "Operation not supported",
    "Transport endpoint is not connected",
    "Connection timed out",
    "Connection refused",
    "Connection reset by peer",
    "Software caused connection abort",
    "No buffer space available",
    "Host is down",
    "No route to host",
    "Network is unreachable",
    "Network is down",
    "Stale file handle",
    "Structure needs cleaning",
    "Remote I/O error",
    "Disk quota exceeded",
    "Operation canceled",
    "Required key not available",
    "Key has expired",
    "Key has been revoked",
    "Memory page has hardware error",
];

/// Lines of a gcc-like driver that are as good as their diagnostics, though they name no source.
const WITHOUT_SOURCE: &[&str] =
    &[": all warnings being treated as errors", ": some warnings being treated as errors"];
const TOO_MANY: &str = "fatal error: too many errors emitted, stopping now";
/// What gcc prints after its last diagnostic; it is not what [`OTHER_ENDS`] means.
const STOPS: &[&str] = &["compilation terminated.", "compilation terminated due to -"];

/// rustc's last error.
const ABORTING: &str = "error: aborting due to ";
/// rustc's errors about crates that it looked for in directories whose listing is no input (see `docs/rust.md`): one that is
/// missing may have come since.
const SOUGHT_CRATES: &[&str] = &[
    "[E0460]", "[E0461]", "[E0462]", "[E0463]", "[E0464]", "[E0514]", "[E0519]", "[E0523]",
    "[E0786]",
];

/// How gcc's fatal errors end that come of a source. Others may end in an errno text in any language: libc may be translated
/// where gcc is not.
const GCC_FATAL_ENDS: &[&str] = &[": No such file or directory"];
const GCC_FATAL: &[&str] = &["template instantiation depth exceeds maximum of"];

/// Whether what a tool of this family printed shows an error in a source that it will find again.
pub(super) fn shows_source_error(family: Family, stdout: &[u8], stderr: &[u8]) -> bool {
    let text = [plain(stdout), plain(stderr)].join("\n");
    let errors = match family {
        Family::Gcc | Family::Clang => of_a_driver(family, &text),
        Family::Rustc => of_rustc(&text),
        Family::Archiver
        | Family::Linker
        | Family::Copier
        | Family::Emscripten
        | Family::Generator
        | Family::Unknown => None,
    };
    errors.is_some_and(|count| count > 0) && !shows_another_end(&text)
}

/// The number of errors in sources; `None` if there is one of another kind.
fn of_a_driver(family: Family, text: &str) -> Option<usize> {
    let mut count = 0;
    for line in text.lines() {
        if !line.to_ascii_lowercase().contains("error:") {
            continue;
        }
        match message_at(line) {
            Some((false, _)) => count += 1,
            Some((true, message)) if family == Family::Clang || is_source_fatal(message) => {
                count += 1;
            }
            None if WITHOUT_SOURCE.iter().any(|end| line.ends_with(end)) => {}
            None if line.starts_with(TOO_MANY) => {}
            _ => return None,
        }
    }
    Some(count)
}

fn is_source_fatal(message: &str) -> bool {
    GCC_FATAL_ENDS.iter().any(|end| message.ends_with(end))
        || GCC_FATAL.iter().any(|begin| message.starts_with(begin))
}

/// Of `path:line: error: message` or `path:line:column: fatal error: message`: whether it is fatal, and the message.
fn message_at(line: &str) -> Option<(bool, &str)> {
    let (at, message) = line.split_once("error: ").or_else(|| {
        // The short format of rustc.
        let (at, rest) = line.split_once("error[")?;
        Some((at, rest.split_once("]: ")?.1))
    })?;
    let place = at.strip_suffix("fatal ");
    let mut place = place.unwrap_or(at).strip_suffix(": ")?;
    let mut numbers = 0;
    while let Some((before, number)) = place.rsplit_once(':')
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        (place, numbers) = (before, numbers + 1);
    }
    (numbers > 0 && !place.is_empty()).then_some((at.ends_with("fatal "), message))
}

/// The same of rustc's text, and of its messages as JSON.
fn of_rustc(text: &str) -> Option<usize> {
    let mut count = 0;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with('{') {
            count += of_a_message(line)?;
        } else if message_at(line).is_some() {
            count += 1;
        } else if line.starts_with("error") && !line.starts_with(ABORTING) {
            let is_inside = |line: &&str| !line.is_empty() && !line.starts_with("error");
            let mut block = std::iter::from_fn(|| lines.next_if(is_inside));
            block.find(|line| line.trim_start().starts_with("--> "))?;
            count += 1;
        }
    }
    Some(count)
}

fn of_a_message(line: &str) -> Option<usize> {
    let message: Value = serde_json::from_str(line).ok()?;
    let level = message["level"].as_str().unwrap_or_default();
    if !level.starts_with("error") {
        return Some(0);
    }
    let text = message["message"].as_str()?;
    if text.starts_with("aborting due to ") {
        return Some(0);
    }
    let has_place = message["spans"].as_array().is_some_and(|spans| !spans.is_empty());
    (level == "error" && has_place).then_some(1)
}

fn shows_another_end(text: &str) -> bool {
    // A line may be broken at any blank (`-fmessage-length`).
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = text.lines().filter(|line| !STOPS.iter().any(|stop| line.starts_with(stop)));
    let shown: Vec<Cow<'_, str>> = shown.map(rendered).collect();
    let shown = words(&shown.join("\n"));
    let lower = shown.to_ascii_lowercase();
    OTHER_ENDS.iter().any(|end| lower.contains(end))
        || SOUGHT_CRATES.iter().any(|code| shown.contains(code))
        || ERRNO_TEXTS.iter().any(|errno| shown.contains(errno))
        || shown.match_indices("(os error ").any(|(at, begin)| {
            // `ENOENT`, which is an absence.
            !shown[at + begin.len()..].starts_with("2)")
        })
}

/// What a message says to a person, if the line is one of rustc's messages: the explanation of its code says more.
fn rendered(line: &str) -> Cow<'_, str> {
    if !line.starts_with('{') {
        return line.into();
    }
    let message: Option<Value> = serde_json::from_str(line).ok();
    let text = message.as_ref().and_then(|message| message["rendered"].as_str());
    text.map_or(line.into(), |text| plain(text.as_bytes()).into())
}

/// The text without what only colours it, or makes a link of it.
pub(super) fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\u{1b}' {
            plain.extend(Some(char).filter(|char| *char != '\r'));
            continue;
        }
        match chars.next() {
            // `ESC [ … letter`
            Some('[') => drop(chars.find(char::is_ascii_alphabetic)),
            // `ESC ] … BEL` or `ESC ] … ESC \`
            Some(']') => {
                let end = chars.find(|end| matches!(end, '\u{7}' | '\u{1b}'));
                if end == Some('\u{1b}') {
                    chars.next();
                }
            }
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
#[path = "diagnostics_tests.rs"]
mod tests;
