//! What an invocation notes of itself after libc has started: names, the cause of a miss, the build.
//!
//! It changes no result. A name that is too long loses its beginning. Read next: `probe/event.rs` (hits before libc),
//! `history.rs` (who reads them), `docs/events.md`.

use std::ffi::{CStr, OsString};
use std::os::unix::ffi::OsStrExt;

use xxhash_rust::xxh3::xxh3_64;

use super::sources::names_a_source;
use crate::os::processes::{Process, process};
use crate::outcome::Cause;
use crate::probe::command::{Command, DIRECTORY, TOOL, fields, has_source};
use crate::probe::judge::{By, Difference, Environment};
use crate::probe::{self};
use crate::shm::events::{BUILD_BYTES_MAX, Ending, Event, NO_BUILDER, TEXT_BYTES, Text};
use crate::shm::raw;

/// Programs that run compilers for a build.
const BUILDERS: [&str; 5] = ["make", "gmake", "ninja", "samu", "cargo"];
/// How many processes above us are looked at.
const PROCESSES_MAX: usize = 32;
/// What stands where the beginning of a text was cut off.
const CUT: &[u8] = "…".as_bytes();
/// How much of the tool's name is kept.
const TOOL_BYTES_MAX: usize = 32;

/// What an invocation is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// The tool, without directories.
    pub tool: Vec<u8>,
    /// The source as it is named; else what is written; else empty.
    pub source: Vec<u8>,
    /// The working directory.
    pub directory: Vec<u8>,
}

impl Names {
    /// Those of a call.
    pub fn of_call(tool: &[u8], args: &[OsString]) -> Names {
        let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        let directory = std::env::current_dir().unwrap_or_default();
        Names::of(tool, &args, directory.as_os_str().as_bytes())
    }

    /// Those of a command, as a record repeats it.
    pub fn of_command(bytes: &[u8]) -> Option<Names> {
        let mut all: Vec<&[u8]> = fields(bytes).collect();
        if has_source(bytes) {
            all.pop();
        }
        Some(Names::of(all.get(TOOL)?, all.get(TOOL + 1..)?, all.get(DIRECTORY)?))
    }

    fn of(tool: &[u8], args: &[&[u8]], directory: &[u8]) -> Names {
        let tool = tool.rsplit(|byte| *byte == b'/').next().unwrap_or(tool);
        Names { tool: tool.into(), source: subject(args).into(), directory: directory.into() }
    }

    /// Puts them into an event, and what the cause of its miss is about.
    pub fn put(&self, event: &mut Event, what: &[u8]) {
        let tool = self.tool.get(..TOOL_BYTES_MAX).unwrap_or(&self.tool);
        event.push(Text::Tool, tool);
        let room = TEXT_BYTES - event.text(Text::Build).len() - tool.len();
        let texts = [self.source.as_slice(), &self.directory, what];
        let needed = |most: usize| texts.iter().map(|text| text.len().min(most)).sum::<usize>();
        let most = (0..=room).rev().find(|most| needed(*most) <= room).unwrap_or(0);
        let names = [Text::Source, Text::Directory, Text::What];
        for (name, text) in names.into_iter().zip(texts) {
            event.push(name, &cut(text, most));
        }
    }
}

/// The source among arguments; where there is none, what is written.
fn subject<'a>(args: &[&'a [u8]]) -> &'a [u8] {
    let is_source = |arg: &&&[u8]| **arg == b"-" || names_a_source(arg);
    let written = || {
        let at = args.iter().position(|arg| *arg == b"-o")?;
        args.get(at + 1).copied()
    };
    args.iter().find(is_source).copied().or_else(written).unwrap_or_default()
}

/// The end of a text that is longer than `most`.
fn cut(text: &[u8], most: usize) -> Vec<u8> {
    if text.len() <= most || most < CUT.len() {
        return text.get(..most).unwrap_or(text).into();
    }
    let tail = text.get(text.len() - (most - CUT.len())..).unwrap_or(&[]);
    let begin = tail.iter().position(|byte| byte & 0xc0 != 0x80).unwrap_or(tail.len());
    [CUT, tail.get(begin..).unwrap_or(&[])].concat()
}

/// A build that has no name: the process of make, ninja or cargo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Builder {
    /// The process.
    pub process: u32,
    /// Its program.
    pub name: String,
    /// When it began, in ticks since the machine did.
    pub started: u64,
}

impl Builder {
    /// The nearest one above us in our session. A make that was started by make is a part of its build.
    pub fn above_us() -> Option<Builder> {
        Builder::above(raw::parent(), raw::session())
    }

    /// The nearest one in a session from a process on, and of those of its name that follow the furthest up.
    pub fn above(first: u32, session: u32) -> Option<Builder> {
        let mut found = None;
        let mut number = first;
        for _ in 0..PROCESSES_MAX {
            let Some(Process { name, parent, started, .. }) =
                process(number).filter(|process| process.session == session)
            else {
                break;
            };
            if BUILDERS.contains(&name.as_str()) {
                // Such as the cargo whose tests run this make.
                if found.as_ref().is_some_and(|nearest: &Builder| nearest.name != name) {
                    break;
                }
                found = Some(Builder { process: number, name, started });
            }
            number = parent;
        }
        found
    }

    /// What tells it from all others, and the name that it has in texts.
    pub fn id(&self) -> (u64, String) {
        let text = format!("{}-{}", self.name, self.process);
        (xxh3_64(format!("{text} {}", self.started).as_bytes()) | 1, text)
    }
}

/// The cause of a miss, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The cause.
    pub cause: Cause,
    /// A path or the name of a variable; empty if the cause says it all.
    pub what: Vec<u8>,
}

impl Found {
    /// A cause that says it all.
    pub fn plain(cause: Cause) -> Found {
        Found { cause, what: Vec::new() }
    }

    /// What comes of the comparison with a record of the same command.
    pub fn of(judged: Result<By, Difference<'_>>) -> Found {
        let (cause, what): (Cause, &CStr) = match judged {
            Ok(_) => (Cause::NotDelivered, c""),
            Err(Difference::Damaged | Difference::Command) => (Cause::Damaged, c""),
            Err(Difference::Variable(name)) if name.is_empty() => (Cause::Environment, c""),
            Err(Difference::Variable(name)) => (Cause::Variable, name),
            Err(Difference::Input(path)) => (Cause::FileChanged, path),
            Err(Difference::Link(path)) => (Cause::LinkChanged, path),
            Err(Difference::Existence(path)) => (Cause::FileGone, path),
            Err(Difference::Listing(path)) => (Cause::ListingChanged, path),
            Err(Difference::Appeared(path)) => (Cause::FileAppeared, path),
            Err(Difference::NameIn(directory, name)) => return Found::name_in(directory, name),
            Err(Difference::Terminal) => (Cause::Terminal, c""),
            Err(Difference::Cpu) => (Cause::Cpu, c""),
            Err(Difference::StandardInput) => (Cause::InputStream, c""),
        };
        Found { cause, what: what.to_bytes().into() }
    }

    fn name_in(directory: &CStr, name: &CStr) -> Found {
        let name = name.to_bytes();
        let (cause, name) = match name.strip_suffix(b"/") {
            Some(name) => (Cause::FileGone, name),
            None => (Cause::FileAppeared, name),
        };
        let directory = directory.to_bytes();
        // That of a project's settings begins with a slash.
        let has_slash = directory.is_empty() || directory.ends_with(b"/") || name.starts_with(b"/");
        let slash: &[u8] = if has_slash { b"" } else { b"/" };
        Found { cause, what: [directory, slash, name].concat() }
    }
}

/// Whether a builder is above us.
#[derive(Debug, Clone, Default)]
pub enum Above {
    /// Nobody has looked: the build has a name, or ends too soon for that.
    #[default]
    Unknown,
    /// There is none.
    Nobody,
    /// This one.
    Process(Builder),
}

/// What a run finds out about itself while the tool runs.
#[derive(Debug, Clone, Default)]
pub struct Meanwhile {
    /// Why there was no hit.
    pub cause: Option<Found>,
    /// What was found above us.
    pub above: Above,
}

/// The event of a call of a tool that ends now, or begins.
pub fn of_call(environment: &Environment, ending: Ending, names: &Names, run: &Meanwhile) -> Event {
    let mut event = probe::event::now(environment, ending);
    match &run.above {
        Above::Unknown => {}
        Above::Nobody => event.builder = NO_BUILDER,
        Above::Process(builder) => {
            let (id, text) = builder.id();
            event.builder = builder.process;
            event.build = id;
            let text = text.as_bytes();
            event.push(Text::Build, text.get(..BUILD_BYTES_MAX).unwrap_or(text));
        }
    }
    let what = run.cause.as_ref().map_or(&[][..], |cause| &cause.what);
    names.put(&mut event, what);
    event.cause = run.cause.as_ref().map_or(0, |found| number(found.cause as usize));
    event
}

/// The number of a reason or a cause in an event.
pub fn number(position: usize) -> u8 {
    u8::try_from(position + 1).unwrap_or(0)
}

/// Puts the names of a command into the event of a hit whose record was made in another directory.
pub fn put_names(event: &mut Event, command: &Command) {
    if let Some(names) = Names::of_command(command.bytes()) {
        names.put(event, b"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tool: &str, line: &str) -> (String, String) {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let names = Names::of(tool.as_bytes(), &args, b"/p");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (text(names.tool), text(names.source))
    }

    #[test]
    fn what_a_call_is_about() {
        for (tool, line, expected) in [
            ("gcc", "-O2 -c a.c -o a.o", ("gcc", "a.c")),
            ("/usr/bin/g++", "-c src/a.cc", ("g++", "src/a.cc")),
            ("gcc", "a.o b.o -o prog", ("gcc", "prog")),
            ("rustc", "--crate-name x src/lib.rs", ("rustc", "src/lib.rs")),
            ("gcc", "-x c - -o a.o", ("gcc", "-")),
            ("gcc", "--version", ("gcc", "")),
            ("gcc", "-o", ("gcc", "")),
        ] {
            assert_eq!(of(tool, line), (expected.0.into(), expected.1.into()), "{line}");
        }
    }

    #[test]
    fn long_names_are_cut_at_their_beginnings() {
        let long = |byte: u8, tail: &str| [&[byte; 200][..], tail.as_bytes()].concat();
        let names =
            Names { tool: b"gcc".into(), source: long(b's', "a.c"), directory: b"/p".into() };
        let mut event = Event::new(Ending::Miss);
        event.push(Text::Build, b"nightly");
        names.put(&mut event, &long(b'w', "b.h"));
        assert_eq!(event.text(Text::Tool), b"gcc");
        assert_eq!(event.text(Text::Directory), b"/p");
        for (text, tail) in [(Text::Source, "a.c"), (Text::What, "b.h")] {
            let text = String::from_utf8(event.text(text).into()).expect("text");
            assert!(text.starts_with('…') && text.ends_with(tail), "{text}");
            assert!(text.len() > 80, "{text}");
        }
    }

    #[test]
    fn a_cut_leaves_whole_characters() {
        for most in 0..12 {
            let cut = cut("äöüäöüäöü".as_bytes(), most);
            assert!(cut.len() <= most);
            assert!(most < CUT.len() || std::str::from_utf8(&cut).is_ok(), "{most}");
        }
        assert_eq!(cut(b"abc", 3), b"abc");
    }

    #[test]
    fn causes() {
        let found = |difference| Found::of(Err(difference));
        let path = |cause, what: &str| Found { cause, what: what.as_bytes().into() };
        assert_eq!(found(Difference::Input(c"a.h")), path(Cause::FileChanged, "a.h"));
        assert_eq!(found(Difference::NameIn(c"/i", c"a.h")), path(Cause::FileAppeared, "/i/a.h"));
        assert_eq!(
            found(Difference::NameIn(c"/p", c"/i.toml")),
            path(Cause::FileAppeared, "/p/i.toml")
        );
        assert_eq!(found(Difference::NameIn(c"", c"a.h")), path(Cause::FileAppeared, "a.h"));
        assert_eq!(found(Difference::NameIn(c"/", c"i/")), path(Cause::FileGone, "/i"));
        assert_eq!(found(Difference::Variable(c"")), Found::plain(Cause::Environment));
        assert_eq!(Found::of(Ok(By::Stamps)), Found::plain(Cause::NotDelivered));
    }
}
