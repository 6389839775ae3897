//! What a compile says comes back as it was said: to pipes, to one pipe, to a terminal of this kind and width.

use crate::cache::{Cache, Outcome};
use crate::call::StdOut;
use crate::cases;
use crate::project::Project;
use crate::tools::{self, ALL, C, GCC};

const WARNS: &str = "\
#warning said by the preprocessor
int f(int a) { int unused_variable_with_a_rather_long_name; return a / 0; }
";

/// The warning is about something far to the right.
const WIDE: &str = "\
int f(int a) { /* ---------------------------------------------------------------- */ int unused; return a; }
";

const TERMINAL: StdOut = StdOut::Terminal(80);

cases! {
    a_terminal_after_pipes: ALL,
        |s| { s.source("-Wall", WARNS); s.env("TERM", "xterm-256color"); },
        |s| { s.stdout(TERMINAL); };
    pipes_after_a_terminal: ALL,
        |s| { s.source("-Wall", WARNS); s.env("TERM", "xterm-256color"); s.stdout(TERMINAL); s.may_hit_or_not(); },
        |s| { s.stdout(StdOut::Pipes); };
    columns: GCC,
        |s| { s.source("-Wall", WIDE); s.env("TERM", "xterm"); s.env("COLUMNS", "200"); s.stdout(TERMINAL); s.may_hit_or_not(); },
        |s| { s.env("COLUMNS", "60"); };
    a_terminal_without_colours: ALL,
        |s| { s.source("-Wall", WARNS); s.env("TERM", "xterm"); s.stdout(TERMINAL); s.may_hit_or_not(); },
        |s| { s.env("TERM", "dumb"); };
    colours_always: ALL,
        |s| { s.source("-Wall -fdiagnostics-color=never", WARNS); },
        |s| { s.args(&format!("-Wall -fdiagnostics-color=always -c {} -o a.o", s.source_name())); };
    one_pipe_for_both: ALL,
        |s| { s.source("-Wall", WARNS); s.stdout(StdOut::Merged); },
        |s| { s.write(s.source_name(), WARNS.replace("said", "told")); };
    messages_as_json: GCC,
        |s| { s.source("-Wall -fdiagnostics-format=json", WARNS); },
        |s| { s.write("a.c", WARNS.replace("said", "told")); };
    headers_listed_on_stderr: C,
        |s| { s.write("h.h", "int a;\n"); s.source("-H -I.", "#include \"h.h\"\n"); },
        |s| { s.write("h.h", "#include \"g.h\"\n"); s.write("g.h", "int a;\n"); };
}

/// A silent compile is one result, whatever it would have spoken to.
#[test]
fn silence_is_the_same_everywhere() {
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a;\n")]));
        let line = format!("{tool} -c a.c -o a.o");
        let call =
            |stdout, term| project.call(&cache, &line).env("TERM", term).stdout(stdout).check();
        call(StdOut::Pipes, "dumb").expect(&Outcome::Miss);
        for stdout in [StdOut::Pipes, StdOut::Merged, TERMINAL] {
            call(stdout, "dumb");
            call(stdout, "dumb").expect_hit();
        }
    }
}

/// Terminals of other sizes; some compilers do not care.
#[test]
fn a_narrower_terminal() {
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), Project::with(&[("a.c", WIDE)]));
        let line = format!("{tool} -Wall -c a.c -o a.o");
        for columns in [120, 50, 120, 0] {
            let call = project.call(&cache, &line).env("TERM", "xterm");
            call.stdout(StdOut::Terminal(columns)).check();
        }
    }
}

/// Standard output and error in the order in which they came, also from the cache.
#[test]
fn order_of_one_pipe() {
    for tool in tools::present(GCC) {
        let (cache, project) = (Cache::new(), Project::with(&[("a.c", WARNS)]));
        let line = format!("{tool} -Wall -pipe -Wa,-al -c a.c -o a.o");
        for _ in 0..2 {
            let seen = project.call(&cache, &line).stdout(StdOut::Merged).check();
            assert!(seen.done.stdout.contains("warning"), "{:?}", seen.done);
        }
    }
}

/// Errors are the tool's, on a terminal as well; the first two are not served.
#[test]
fn errors_on_a_terminal() {
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a = nothing;\n")]));
        let line = format!("{tool} -c a.c -o a.o");
        for _ in 0..2 {
            let call = project.call(&cache, &line).env("TERM", "xterm").stdout(TERMINAL);
            let seen = call.check().expect(&Outcome::ToolFailure);
            assert_eq!(seen.done.code, Some(1));
        }
    }
}
