//! Runs of gcc and clang that fail and repeat themselves: served the third time, with all that the bare tool leaves.
//!
//! Each `check` compares status, text, modes, bytes and what was removed with the bare tool's run from the same start.
//! Read next: `failures_of_builds.rs` (rustc, and whole builds), `failures_refused.rs` (what is not stored).

use crate::cache::{Cache, Outcome};
use crate::call::{Call, StdIn, StdOut};
use crate::project::Project;
use crate::random::Random;
use crate::tools::{self, C, CXX};

const BROKEN: &str = "#include \"h.h\"\nint f(int a) { int unused; return a + nothing; }\n";

pub fn project() -> Project {
    Project::with(&[("a.c", BROKEN), ("a.cc", BROKEN), ("h.h", "#define H 3\n"), ("out/keep", "")])
}

pub fn source_of(tool: &str) -> &'static str {
    if tool.contains("++") { "a.cc" } else { "a.c" }
}

/// Two runs, and from then on it is served.
#[track_caller]
pub fn repeats(call: &Call) {
    for expected in [Outcome::ToolFailure, Outcome::ToolFailure] {
        let seen = call.check().expect(&expected);
        assert_eq!(seen.done.code, Some(1), "{:?}", seen.done);
    }
    for _ in 0..2 {
        call.check().expect(&Outcome::FailureHit);
    }
}

/// Each line with no old outputs there, and with all that may be there; the tool may make, cut, replace or remove it.
#[test]
fn with_old_outputs_and_without() {
    let lines = [
        "-c SOURCE -o a.o",
        "-MD -c SOURCE -o a.o",
        "-MMD -MF out/dep -Wall -c SOURCE -o out/a.o",
        "-pipe -MD -c SOURCE -o a.o",
        "-S SOURCE -o a.s",
        "-g -O2 -c SOURCE",
        "-save-temps -c SOURCE -o a.o",
        "-g -gsplit-dwarf -c SOURCE -o a.o",
    ];
    let old = ["a.o", "a.s", "a.d", "a.i", "a.ii", "a.dwo", "a.bc", "out/a.o", "out/dep"];
    for tool in tools::of_each_family() {
        for (number, line) in lines.into_iter().enumerate() {
            let (cache, project) = (Cache::new(), project());
            if number % 2 == 0 {
                // From then on the shim alone watches.
                project.write("good.c", "int good;\n");
                project.call(&cache, &format!("{tool} -c good.c -o good.o")).check();
            }
            let line = format!("{tool} {}", line.replace("SOURCE", source_of(tool)));
            let call = project.call(&cache, &line);
            let clean = || old.iter().for_each(|name| drop(std::fs::remove_file(project.at(name))));
            let fill = || old.iter().for_each(|name| project.write(name, "old"));
            fill();
            call.check().expect(&Outcome::ToolFailure);
            clean();
            call.check().expect(&Outcome::ToolFailure);
            // What is there now and was not then may be a condition, so the first of each may be a run.
            for is_filled in [false, true, true, false, true, false] {
                clean();
                if is_filled {
                    fill();
                }
                call.check();
            }
            for is_filled in [false, true] {
                clean();
                if is_filled {
                    fill();
                }
                call.check().expect(&Outcome::FailureHit);
            }
            project.write("a.c", "int a;\n");
            project.write("a.cc", "int a;\n");
            call.check().expect(&Outcome::Miss);
        }
    }
}

/// What is not a plain file is left to the tool.
#[test]
fn over_what_is_no_plain_file() {
    for tool in tools::of_each_family() {
        for line in ["-MD -c SOURCE -o a.o", "-pipe -c SOURCE -o a.o", "-S SOURCE -o a.o"] {
            let (cache, project) = (Cache::new(), project());
            let line = format!("{tool} {}", line.replace("SOURCE", source_of(tool)));
            let call = project.call(&cache, &line);
            repeats(&call);
            for prepare in [
                "echo old > a.o; chmod 444 a.o",
                "echo old > a.o; chmod 751 a.o",
                "echo old > b; ln b a.o",
                "echo old > b; ln -s b a.o",
                "ln -s nowhere a.o",
                "mkdir a.o",
                "echo old > b; ln b a.d",
            ] {
                if prepare == "mkdir a.o" && line.contains("-pipe") {
                    // The compiler and the assembler speak in any order.
                    continue;
                }
                project.shell(&cache, &format!("rm -rf a.o a.d b nowhere; {prepare}"));
                call.check();
                project.shell(&cache, &format!("rm -rf a.o a.d b nowhere; {prepare}"));
                call.check();
            }
        }
    }
}

#[test]
fn errors_of_many_kinds() {
    let sources = [
        "#error this is wrong\n",
        "_Static_assert(0, \"no\");\n",
        "int a = nothing;\nint b = nothing;\n#warning too\n",
        "int f(void) { }\nint g(int a) { return a +; }\n",
        "#include <stdio.h>\nint f(FILE *f) { return f->no_such_member; }\n",
        "#include \"missing.h\"\nint a;\n",
        "#include \"h.h\"\n#include \"h.h/missing.h\"\n",
        "#if __has_include(\"missing.h\")\nint a;\n#else\n#error missing\n#endif\n",
    ];
    for tool in tools::of_each_family() {
        for source in sources {
            let (cache, project) = (Cache::new(), project());
            let text = if tool.contains("++") { source.replace("_S", "s") } else { source.into() };
            project.write(source_of(tool), text);
            repeats(&project.call(&cache, &format!("{tool} -MD -c {} -o a.o", source_of(tool))));
        }
    }
}

#[test]
fn warnings_that_are_errors_and_errors_that_end_it() {
    let lines =
        ["-Wall -Werror", "-Wall -Werror=unused-variable", "-Wfatal-errors", "-fmax-errors=1"];
    for tool in tools::of_each_family() {
        for flags in lines.iter().filter(|flags| tools::is_gcc(tool) || !flags.contains("max")) {
            let (cache, project) = (Cache::new(), project());
            if flags.contains("-Werror") {
                project.write(source_of(tool), "int f(int a) { int unused; return a; }\n");
            }
            repeats(&project.call(&cache, &format!("{tool} {flags} -c {}", source_of(tool))));
        }
    }
}

#[test]
fn templates() {
    for tool in tools::present(CXX) {
        let (cache, project) = (Cache::new(), Project::new());
        project.write(
            "a.cc",
            "#include <vector>\n#include <string>\nstruct N { N(const N &) = delete; };\n\
             int f() { std::vector<N> v; v.push_back(1); std::string s = v; return s; }\n",
        );
        repeats(&project.call(&cache, &format!("{tool} -std=c++17 -c a.cc -o a.o")));
        project.write("b.cc", "template <int N> struct S : S<N + 1> {};\nS<0> s;\n");
        repeats(&project.call(&cache, &format!("{tool} -c b.cc -o b.o")));
    }
}

#[test]
fn colours_terminals_and_one_pipe() {
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), project());
        let line = format!("{tool} -Wall -c {}", source_of(tool));
        let on = |stdout| project.call(&cache, &line).env("TERM", "xterm").stdout(stdout);
        repeats(&on(StdOut::Pipes));
        for columns in [80, 40] {
            // The text may be the same as on another one: then the first run here is the second.
            on(StdOut::Terminal(columns)).check().expect(&Outcome::ToolFailure);
            on(StdOut::Terminal(columns)).check();
            on(StdOut::Terminal(columns)).check().expect(&Outcome::FailureHit);
        }
        // All of it goes to one stream, so that it does not matter where the other leads.
        on(StdOut::Merged).check().expect(&Outcome::FailureHit);
        on(StdOut::Pipes).check().expect(&Outcome::FailureHit);
        on(StdOut::Terminal(81)).check().expect(&Outcome::ToolFailure);
        let flag =
            if tools::is_gcc(tool) { "-fdiagnostics-color=always" } else { "-fcolor-diagnostics" };
        repeats(&project.call(&cache, &format!("{line} {flag}")));
    }
}

#[test]
fn a_source_from_standard_input() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), project());
        let line = format!("{tool} -x c -c - -o a.o");
        let of = |text: &str| project.call(&cache, &line).stdin(StdIn::Pipe(text.into()));
        repeats(&of(BROKEN));
        of("int a;\n").check().expect(&Outcome::Miss);
        repeats(&of("int a = nothing;\n"));
        of(BROKEN).check();
        of(BROKEN).check().expect(&Outcome::FailureHit);
    }
}

/// The reasons of the failure go, and come again.
#[test]
fn a_header_that_appears() {
    for tool in tools::of_each_family() {
        for include in ["missing.h", "inc/missing.h"] {
            let (cache, project) = (Cache::new(), Project::new());
            project.write(source_of(tool), format!("#include \"{include}\"\nint a = M;\n"));
            let call =
                project.call(&cache, &format!("{tool} -Iinc -MD -c {} -o a.o", source_of(tool)));
            repeats(&call);
            project.write(include, "#define M 1\n");
            call.check().expect(&Outcome::Miss);
            call.check().expect_hit();
            project.remove(include);
            // An object that is there now was not there before.
            call.check();
            call.check().expect(&Outcome::FailureHit);
            project.write(include, "#define M nothing\n");
            repeats(&call);
            project.write(include, "#define M 1\n");
            call.check().expect_hit();
        }
    }
}

#[test]
fn mended_and_broken_again() {
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), project());
        let call = project.call(&cache, &format!("{tool} -MD -c {} -o a.o", source_of(tool)));
        repeats(&call);
        for (text, number) in [("int a;\n", 1), ("int a, b;\n", 2)] {
            project.write(source_of(tool), text);
            let mended = call.check();
            assert!(
                !mended.outcome.is_hit() && mended.done.code == Some(0),
                "{number}: {mended:?}"
            );
            project.write(source_of(tool), BROKEN);
            // An object that is there now was not there before.
            call.check();
            call.check().expect(&Outcome::FailureHit);
        }
        project.touch("h.h");
        call.check().expect(&Outcome::FailureHit);
        project.write("h.h", "int nothing;\n");
        call.check().expect(&Outcome::Miss);
    }
}

#[test]
fn other_arguments_variables_and_masks() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), project());
        let line = format!("{tool} -MD -c a.c -o a.o");
        repeats(&project.call(&cache, &line));
        project.call(&cache, &format!("{line} -Dnothing=1")).check().expect(&Outcome::Miss);
        let call = || project.call(&cache, &line);
        call().umask(Some(0o077)).check().expect(&Outcome::ToolFailure);
        call().env("CPATH", project.at("out")).check().expect(&Outcome::ToolFailure);
        call().check();
        call().check().expect(&Outcome::FailureHit);
    }
}

/// What differs from run to run is no result.
#[test]
fn outcomes_that_differ() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::new());
        project.write("a.c", "#pragma message(__TIME__)\nint a = nothing;\n");
        for _ in 0..3 {
            let counted = cache.count(|| {
                let done = cache.ibid([tool, "-c", "a.c"]).current_dir(project.path()).output();
                assert_eq!(done.unwrap().status.code(), Some(1));
            });
            assert_eq!(counted.outcome(), Outcome::ToolFailure);
        }
    }
}

#[test]
fn settings() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), project());
        let line = format!("{tool} -MD -c a.c -o a.o");
        let call = || project.call(&cache, &line);
        let explained = || {
            let mut words = vec!["explain", "--"];
            words.extend(line.split(' '));
            let done = cache.ibid(words).current_dir(project.path()).output().unwrap();
            String::from_utf8(done.stdout).unwrap()
        };
        // Nothing is noted.
        for _ in 0..3 {
            call().env("IBID_READONLY", "1").check().expect(&Outcome::ToolFailure);
        }
        call().check().expect(&Outcome::ToolFailure);
        assert!(explained().starts_with("miss"), "{}", explained());
        call().check().expect(&Outcome::ToolFailure);
        call().env("IBID_READONLY", "1").check().expect(&Outcome::FailureHit);
        // `explain` speaks to a pipe, whose other end is not the one of the text.
        assert!(
            explained().starts_with("hit (a direct hit of a failing run): every input"),
            "{}",
            explained()
        );
        project.touch("h.h");
        assert!(
            explained().starts_with("hit (a content hit of a failing run): every input"),
            "{}",
            explained()
        );
        call().env("IBID_RECACHE", "1").check().expect(&Outcome::ToolFailure);
        call().check().expect(&Outcome::FailureHit);
        call().env("IBID_DISABLE", "1").check().expect(&Outcome::Uncounted);
        call().env("IBID_LOG", cache.root().join("log")).check().expect(&Outcome::FailureHit);
        let log = std::fs::read_to_string(cache.root().join("log")).unwrap();
        assert!(log.contains("hit of a failing run"), "{log}");
        let text = cache.say(&["stats"]);
        assert!(text.contains("  from the cache   "), "{text}");
        let report = cache.say(&["verify"]);
        assert!(report.contains("nothing is damaged"), "{report}");
        cache.say(&["clear"]);
        call().check().expect(&Outcome::ToolFailure);
    }
}

/// Run anew on request, it gives something else: what was stored before is not served again.
#[test]
fn what_is_run_anew_and_differs_is_forgotten() {
    let (cache, project) = (Cache::new(), project());
    let line = "gcc -c a.c -o a.o";
    repeats(&project.call(&cache, line));
    // The clock makes it one that cannot be stored.
    let recached = project.call(&cache, line).env("IBID_RECACHE", "1").after("ulimit -v 4000000");
    recached.check().expect(&Outcome::ToolFailure);
    project.call(&cache, line).check().expect(&Outcome::ToolFailure);
    project.call(&cache, line).check().expect(&Outcome::FailureHit);
}

/// Several processes that fail alike at one time.
#[test]
fn at_one_time() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), project());
        let line = format!("{tool} -MD -c a.c -o a.o");
        let script = format!(
            "for i in 1 2 3 4 5 6; do '{}' {line} 2>said.$i & done; wait; {line} 2>bare; \
             for i in 1 2 3 4 5 6; do cmp said.$i bare || exit 1; done; test ! -e a.o",
            tools::ibid().display()
        );
        for _ in 0..4 {
            project.shell(&cache, &script);
        }
        assert!(cache.counters().get("failure_hits") > 0);
        project.call(&cache, &line).check();
    }
}

/// Random edits, outputs that come and go, arguments that change: each run is like the bare tool's.
#[test]
fn random_edits() {
    let rounds = if tools::long() { 2000 } else { 60 };
    let seed = Random::seed();
    tools::say(&format!("random failing edits: seed {seed}"));
    let mut random = Random::new(seed);
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), project());
        let source = source_of(tool);
        let texts = [
            "int a;\n",
            "int a = nothing;\n",
            BROKEN,
            "#include \"n.h\"\n",
            "#include \"h.h\"\nint b = H\n",
        ];
        let headers =
            ["#define H 1;\n", "#define H 2\n", "#error h\n", "int nothing;\n#define H 1;\n"];
        let flags = ["", "-pipe", "-MD", "-Werror -Wall", "-S"];
        let old = ["a.o", "a.d", "a.s", "n.h", "out/n.h", "h.h"];
        let mut flag = 0;
        for _ in 0..rounds / 4 {
            match random.below(7) {
                0 => project.write(source, texts[random.below(texts.len())]),
                1 => project.write("h.h", headers[random.below(headers.len())]),
                2 => flag = random.below(flags.len()),
                3 => drop(std::fs::remove_file(project.at(old[random.below(old.len())]))),
                4 => project.write(old[random.below(old.len())], "int n;\n"),
                5 => project.write("n.h", ["int n;\n", "#error n\n"][random.below(2)]),
                _ => {}
            }
            let line = format!("{tool} -Iout {} -c {source} -o a.o", flags[flag]);
            project.call(&cache, &line).check();
        }
    }
}
