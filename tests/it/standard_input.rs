//! A source that comes by standard input, in all the ways in which that can be something, next to the bare tool.

use std::io::Write;
use std::process::Stdio;

use crate::cache::{Cache, Outcome};
use crate::call::{Call, StdIn, Through};
use crate::project::Project;
use crate::rustc::{cache, toolchain};
use crate::tools;

/// A tool that reads its source from standard input.
struct Reader {
    cache: Cache,
    project: Project,
    line: String,
    is_rust: bool,
}

impl Reader {
    fn new(line: String, is_rust: bool) -> Reader {
        Reader { cache: cache(), project: Project::new(), line, is_rust }
    }

    fn all() -> Vec<Reader> {
        let c = |tool: &&str| Reader::new(format!("{tool} -x c -c - -o a.o"), false);
        let rustc = toolchain().map(|bin| bin.join("rustc").display().to_string());
        let options = "--crate-type lib --crate-name x --emit=metadata";
        let rust = rustc.map(|rustc| Reader::new(format!("{rustc} {options} -"), true));
        tools::present(tools::C).iter().map(c).chain(rust).collect()
    }

    /// A source that gives another result for another number; `filler` bytes are a comment.
    fn source(&self, number: u32, filler: usize) -> Vec<u8> {
        let comment = format!("/*{}*/\n", " ".repeat(filler));
        let rest = if self.is_rust {
            format!("pub const A{number}: [u8; {number}] = [0; {number}];\n")
        } else {
            format!("char a{number}[{number}] = {{1}};\n")
        };
        (comment + &rest).into_bytes()
    }

    fn call(&self, stdin: StdIn) -> Call<'_> {
        self.project.call(&self.cache, &self.line).stdin(stdin)
    }

    /// Runs a shell line in which `@` stands for the tool's, with ibid or without: what it printed, and how it was counted.
    fn shell(&self, line: &str, with_ibid: bool) -> (String, Outcome) {
        let wrapper = if with_ibid { tools::ibid().display().to_string() } else { String::new() };
        let line = line.replace('@', &format!("{wrapper} {}", self.line));
        let mut said = String::new();
        let counted = self.cache.count(|| said = self.project.shell(&self.cache, &line));
        (said, counted.outcome())
    }
}

fn passed() -> Outcome {
    Outcome::PassedThrough("standard_input".into())
}

#[test]
fn a_source_by_a_pipe_is_a_part_of_the_key() {
    for reader in Reader::all() {
        let pipe = |number, filler| StdIn::Pipe(reader.source(number, filler));
        // The last two do not fit into a pipe.
        for (number, filler) in [(1, 0), (2, 0), (3, 70_000), (4, 900_000)] {
            reader.call(pipe(number, filler)).check().expect(&Outcome::Miss);
        }
        for (number, filler) in [(4, 900_000), (1, 0), (3, 70_000), (2, 0)] {
            reader.call(pipe(number, filler)).check().expect(&Outcome::InvocationHit);
        }
    }
}

#[test]
fn a_source_that_is_too_long_is_left_to_the_tool() {
    for reader in Reader::all() {
        for _ in 0..2 {
            let long = reader.source(1, 3 << 20);
            reader.call(StdIn::Pipe(long)).check().expect(&passed());
        }
        reader.project.write("long", reader.source(1, 3 << 20));
        reader.call(StdIn::File("long".into())).check().expect(&passed());
    }
}

#[test]
fn nothing_and_garbage() {
    for reader in Reader::all() {
        for empty in [StdIn::Pipe(Vec::new()), StdIn::Null] {
            reader.call(empty.clone()).check().expect(&Outcome::Miss);
            reader.call(empty).check().expect(&Outcome::InvocationHit);
        }
        // A compiler may fail to read what is closed, or take it for nothing.
        for _ in 0..2 {
            reader.call(StdIn::Closed).check();
        }
        let garbage: Vec<u8> = (0..2000_u32).map(|i| (i * i % 251) as u8).collect();
        for _ in 0..2 {
            reader.call(StdIn::Pipe(garbage.clone())).check().expect(&Outcome::ToolFailure);
        }
    }
}

#[test]
fn a_source_from_a_file_is_read_from_its_offset_to_its_end() {
    for reader in Reader::all() {
        for (number, expected) in [(1, Outcome::Miss), (2, Outcome::Miss)] {
            reader.project.write("source", reader.source(number, 0));
            reader.call(StdIn::File("source".into())).check().expect(&expected);
            reader.project.touch("source");
            reader.call(StdIn::File("source".into())).check().expect(&Outcome::InvocationHit);
        }
        // `read` leaves the offset behind its line; what the tool leaves, `cat` shows.
        let line = "{ read first; @; cat; echo \"left by $?\"; } < lines 2>&1";
        let lines = |first: &str| [first.as_bytes(), &reader.source(3, 0)].concat();
        let output = if reader.is_rust { "libx.rmeta" } else { "a.o" };
        for (first, expected) in [("a\n", Outcome::Miss), ("bb\n", Outcome::Miss)] {
            reader.project.write("lines", lines(first));
            std::thread::sleep(std::time::Duration::from_millis(60));
            let ours = reader.shell(line, true);
            let bytes = reader.project.read(output);
            assert_eq!(ours.1, expected, "{}", ours.0);
            reader.project.remove(output);
            assert_eq!(reader.shell(line, true), (ours.0.clone(), Outcome::InvocationHit));
            assert!(reader.project.read(output) == bytes);
            let bare = reader.shell(line, false);
            assert_eq!(bare, (ours.0, Outcome::Uncounted));
            assert!(reader.project.read(output) == bytes);
        }
    }
}

#[test]
fn a_writer_that_is_slow_or_killed() {
    for reader in Reader::all() {
        reader.project.write("one", reader.source(1, 0));
        reader.project.write("two", reader.source(2, 0));
        for expected in [Outcome::Miss, Outcome::InvocationHit] {
            let slow = "(cat one; sleep 0.1; cat two; sleep 0.1) | @";
            assert_eq!(reader.shell(slow, true).1, expected);
            // What a writer has said before it dies is the source.
            let killed = "sh -c 'cat two; kill -9 $$' | @";
            assert_eq!(reader.shell(killed, true).1, expected);
        }
        // Longer than what is kept, and slow behind that.
        reader.project.write("long", reader.source(3, 2 << 20));
        let seen = reader.shell("(cat long; sleep 0.1; cat one) | @", true);
        assert_eq!(seen.1, passed());
    }
}

#[test]
fn other_kinds_of_standard_input_are_left_to_the_tool() {
    for reader in Reader::all() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let counted = reader.cache.count(|| {
            let mut words = reader.line.split(' ');
            let mut command = reader.cache.ibid(words.by_ref());
            command.current_dir(reader.project.path());
            let theirs: std::os::fd::OwnedFd = theirs.into();
            let mut child = command.stdin(Stdio::from(theirs)).spawn().unwrap();
            drop(command);
            (&ours).write_all(&reader.source(1, 0)).unwrap();
            drop(ours);
            assert!(child.wait().unwrap().success());
        });
        assert_eq!(counted.outcome(), passed());
    }
}

/// The time of a file that is read that way is no part of the key.
#[test]
fn a_source_that_shows_its_time() {
    for reader in Reader::all().into_iter().filter(|reader| !reader.is_rust) {
        reader.project.write("source", "char a[] = __TIMESTAMP__;\n");
        for _ in 0..2 {
            let seen = reader.call(StdIn::File("source".into())).check();
            assert!(seen.outcome.is_miss(), "{:?}", seen.outcome);
            reader.project.shell(&reader.cache, "touch -d '2001-02-03 04:05:06' source");
        }
    }
}

#[test]
fn explain_reads_it_too() {
    for reader in Reader::all() {
        reader.project.write("one", reader.source(1, 0));
        reader.project.write("two", reader.source(2, 0));
        assert_eq!(reader.shell("@ < one", true).1, Outcome::Miss);
        let explain = |name: &str| {
            let ibid = tools::ibid().display();
            let line = format!("cat {name} | {ibid} explain -- {}", reader.line);
            reader.project.shell(&reader.cache, &line)
        };
        // A pipe is no file.
        assert!(explain("one").starts_with("miss standard input differs"), "{}", explain("one"));
        assert_eq!(reader.shell("cat one | @", true).1, Outcome::Miss);
        assert!(explain("one").starts_with("hit"));
        assert!(explain("two").starts_with("miss standard input differs"));
    }
}

/// Our own runtime opens something in the place of what is closed.
#[test]
fn closed_is_not_empty() {
    if !tools::have("gcc") {
        return;
    }
    let (cache, project) = (Cache::new(), Project::new());
    project.write(
        "asks.c",
        "#include <stdio.h>\n#include <unistd.h>\nint main(void) { char c; FILE *f = fopen(\"said\", \"w\");\n\
         return fprintf(f, \"%zd\", read(0, &c, 1)) < 0; }\n",
    );
    project.shell(&cache, "gcc asks.c -o asks");
    let call = |stdin| {
        if project.at("said").exists() {
            project.remove("said");
        }
        project.call(&cache, "./asks").through(Through::Exec).stdin(stdin).check()
    };
    for expected in [Outcome::Miss, Outcome::InvocationHit] {
        for stdin in [StdIn::Closed, StdIn::Null] {
            call(stdin).expect(&expected);
        }
    }
}
