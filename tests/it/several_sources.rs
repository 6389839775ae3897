//! Calls with several sources: each is found or compiled by itself, and all is as after the one call of the bare tool.
//!
//! Read next: `outcomes.rs` (how they count), `docs/several-sources.md`.

use std::process::Command;

use crate::cache::{Cache, Outcome};
use crate::call::{StdOut, Through};
use crate::project::Project;
use crate::tools::{self, C, CLANG, GCC};

const ONE: &str = "#include \"h.h\"\nint a(int x) { int unused; return x + H; }\n";
const FILES: &[(&str, &str)] = &[
    ("a.c", ONE),
    ("b.c", "#include \"h.h\"\n#include <stdio.h>\nint b(void) { return puts(\"b\") + H; }\n"),
    ("sub/c.c", "const char *where(void) { return __FILE__; }\n"),
    ("d.c", "int d(void) { int unused; return 4; }\n"),
    ("h.h", "#define H 1\n"),
    ("bad.c", "int f(void) { return undeclared; }\n"),
    ("fatal.c", "#include \"missing.h\"\n"),
    ("asm.c", "__asm__(\"no_such_instruction\");\n"),
];
const SOURCES: &str = "a.c b.c sub/c.c d.c";

/// How many of a call's sources were compiled, by the log.
fn compiled(cache: &Cache, project: &Project, line: &str) -> usize {
    let log = cache.root().join("log");
    let _ = std::fs::remove_file(&log);
    let mut ibid = cache.ibid(line.split(' '));
    let done = ibid.current_dir(project.path()).env("IBID_LOG", &log).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let log = std::fs::read_to_string(&log).unwrap_or_default();
    log.lines().filter(|line| line.contains(": ran for ")).count()
}

#[test]
fn one_of_them_is_edited() {
    for tool in tools::present(C) {
        for flags in ["-c", "-S -O1", "-c -g -O2 -MD", "-c -Wall", "-c -g -gsplit-dwarf -MMD -MT x"]
        {
            let (cache, project) = (Cache::new(), Project::with(FILES));
            let line = format!("{tool} {flags} {SOURCES}");
            let call = project.call(&cache, &line);
            call.check().expect(&Outcome::Miss);
            call.check().expect(&Outcome::InvocationHit);
            project.write("b.c", "int b(void) { int unused; return 5; }\n");
            call.check().expect(&Outcome::Miss);
            call.check().expect(&Outcome::InvocationHit);
            // A header of two of them.
            project.write("h.h", "#define H 2\n");
            call.check().expect(&Outcome::Miss);
            call.check().expect(&Outcome::InvocationHit);
            // Contents as before.
            project.write("h.h", "#define H 1\n");
            assert!(call.check().outcome.is_hit(), "{line}");
            call.check().expect(&Outcome::InvocationHit);
        }
    }
}

#[test]
fn only_what_has_changed_is_compiled() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::with(FILES));
        let line = format!("{tool} -c -O1 {SOURCES}");
        let count = || compiled(&cache, &project, &line);
        assert_eq!(count(), 4);
        assert_eq!(count(), 0);
        project.write("d.c", "int d(void) { return 5; }\n");
        assert_eq!(count(), 1);
        project.touch("d.c");
        project.touch("a.c");
        assert_eq!(count(), 0);
        project.write("h.h", "#define H 3\n");
        assert_eq!(count(), 2, "a.c and b.c");
    }
}

/// What was compiled alone serves the call, and the other way round.
#[test]
fn alone_and_together() {
    let (cache, project) = (Cache::new(), Project::with(FILES));
    project.call(&cache, "gcc -c -O1 d.c").check().expect(&Outcome::Miss);
    assert_eq!(compiled(&cache, &project, "gcc -c -O1 d.c a.c"), 1);
    project.call(&cache, "gcc -c -O1 a.c").check().expect(&Outcome::InvocationHit);
    project.call(&cache, "gcc -c -O1 a.c d.c").check().expect(&Outcome::InvocationHit);
}

#[test]
fn some_that_fail() {
    for tool in tools::present(C) {
        for sources in [
            "a.c bad.c d.c",
            "bad.c a.c d.c",
            "d.c fatal.c a.c",
            "asm.c a.c d.c",
            "d.c bad.c fatal.c asm.c a.c",
            "a.c not_there.c d.c",
            "not_there.c a.c",
        ] {
            let (cache, project) = (Cache::new(), Project::with(FILES));
            let line = format!("{tool} -c -Wall -pipe {sources}");
            for _ in 0..3 {
                let seen = project.call(&cache, &line).check();
                assert_ne!(seen.done.code, Some(0), "{line}");
                let is_failure = matches!(seen.outcome, Outcome::ToolFailure | Outcome::FailureHit);
                assert!(is_failure, "{line}: {:?}", seen.outcome);
            }
            for name in ["bad.c", "fatal.c", "asm.c", "not_there.c"] {
                project.write(name, "int fine;\n");
            }
            project.call(&cache, &line).check().expect(&Outcome::Miss);
            project.call(&cache, &line).check().expect(&Outcome::InvocationHit);
        }
    }
}

/// What the tool says of the call itself comes once, and not for each source.
#[test]
fn what_the_tool_says_of_the_call() {
    let cases: &[(&[&str], &str)] = &[
        (CLANG, "-c -lfoo"),
        (CLANG, "-c -Wl,-x -Wall"),
        (CLANG, "-c -s -L."),
        (CLANG, "-c -fno-such-thing"),
        (GCC, "-c -pipe -save-temps -Wall"),
        (GCC, "-c -no-such-option"),
        (GCC, "-c -mno-such-thing=1"),
        (GCC, "-c x.o"),
    ];
    for (names, flags) in cases {
        for tool in tools::present(names) {
            let (cache, project) = (Cache::new(), Project::with(FILES));
            project.write("x.o", "");
            // A line of the driver's is known by its beginning, which colours hide.
            let is_coloured = flags.contains("-Wall") || tools::long();
            let streams = [StdOut::Pipes, StdOut::Terminal(90), StdOut::Merged];
            for stdout in streams.into_iter().take(if is_coloured { 3 } else { 1 }) {
                let line = format!("{tool} {flags} a.c d.c");
                let call = project.call(&cache, &line).stdout(stdout);
                let first = call.check();
                let text = [&*first.done.stdout, &*first.done.stderr].concat();
                assert!(!text.is_empty(), "{line}: it says something");
                call.check();
                project.write("d.c", "int d(void) { int other; return 5; }\n");
                call.check();
                project.write("a.c", format!("{ONE}int more;\n"));
                call.check();
                call.check();
                project.write("a.c", ONE);
                call.check();
            }
        }
    }
}

#[test]
fn texts_in_the_order_of_the_sources() {
    for tool in tools::present(C) {
        for stdout in [StdOut::Pipes, StdOut::Merged, StdOut::Terminal(80)] {
            let (cache, project) = (Cache::new(), Project::with(FILES));
            let line = format!("{tool} -c -Wall -Wextra d.c a.c b.c");
            let call = project.call(&cache, &line).stdout(stdout);
            call.check().expect(&Outcome::Miss);
            call.check().expect(&Outcome::InvocationHit);
            project.write("a.c", "int a(void) { int another; return 1; }\n");
            call.check().expect(&Outcome::Miss);
            call.check().expect(&Outcome::InvocationHit);
        }
    }
}

/// Outputs, options and sources of which a call for each source is something else, or would write one file twice.
#[test]
fn calls_that_stay_one() {
    let cases: &[(&[&str], &str)] = &[
        (CLANG, "-c -frecord-command-line a.c d.c"),
        (CLANG, "-c -g -grecord-command-line a.c d.c"),
        (CLANG, "-c -MJ all.json a.c d.c"),
        (C, "-c a.c sub/a.c"),
        (C, "-c -x c a.c d.c"),
        (C, "-c a.c e.cc"),
        (C, "-c @words"),
        (C, "-c -MD -MF one.d a.c d.c"),
    ];
    for (names, args) in cases {
        for tool in tools::present(names) {
            let (cache, project) = (Cache::new(), Project::with(FILES));
            project.write("sub/a.c", "int sub;\n");
            project.write("e.cc", "int e;\n");
            project.write("words", "a.c d.c\n");
            let call = project.call(&cache, &format!("{tool} {args}"));
            call.check().expect_miss();
            call.check().expect_hit();
            project.write("d.c", "int d(void) { return 5; }\n");
            call.check();
            call.check();
        }
    }
}

/// A source that reads what the one before it wrote.
#[test]
fn one_reads_what_another_wrote() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::with(FILES));
        project.write("e.c", "__asm__(\".incbin \\\"a.o\\\"\");\n");
        let call = project.call(&cache, &format!("{tool} -c a.c e.c"));
        call.check();
        call.check();
        project.write("a.c", "int a = 77;\n");
        call.check();
        call.check();
        project.remove("a.o");
        call.check();
        project.write("a.o", "something else");
        call.check();
        call.check();
    }
}

#[test]
fn through_a_link_and_by_its_path() {
    let (cache, project) = (Cache::new(), Project::with(FILES));
    let bin = cache.root().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let link = bin.join("gcc");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ibid"), &link).unwrap();
    let path = tools::path_of("gcc");
    for line in [format!("gcc -c {SOURCES}"), format!("{} -c {SOURCES}", path.display())] {
        let through = if line.starts_with('/') {
            Through::Wrapper
        } else {
            Through::Masquerade(link.clone())
        };
        let call = project.call(&cache, &line).through(through);
        call.check().expect(&Outcome::Miss);
        call.check().expect(&Outcome::InvocationHit);
        project.write("d.c", format!("int d = {};\n", line.len()));
        call.check().expect(&Outcome::Miss);
        call.check().expect(&Outcome::InvocationHit);
    }
}

#[test]
fn a_cache_that_is_only_read_and_one_that_is_not_asked() {
    let (mut cache, project) = (Cache::new(), Project::with(FILES));
    let line = format!("gcc -c {SOURCES}");
    cache.set("IBID_READONLY", "1");
    project.call(&cache, &line).check().expect(&Outcome::NotStored("read_only".into()));
    cache.unset("IBID_READONLY");
    project.call(&cache, &line).check().expect(&Outcome::Miss);
    cache.set("IBID_READONLY", "1");
    project.call(&cache, &line).check().expect(&Outcome::InvocationHit);
    project.write("d.c", "int d;\n");
    project.call(&cache, &line).check().expect(&Outcome::NotStored("read_only".into()));
    cache.unset("IBID_READONLY");
    cache.set("IBID_RECACHE", "1");
    assert_eq!(compiled(&cache, &project, &line), 4);
    cache.unset("IBID_RECACHE");
    project.call(&cache, &line).check().expect(&Outcome::InvocationHit);
}

/// In another checkout each source is found by content.
#[test]
fn in_another_checkout() {
    let cache = Cache::new();
    let [one, other] = [FILES, FILES].map(Project::with);
    let line = "gcc -c -O1 a.c b.c d.c";
    one.call(&cache, line).check().expect(&Outcome::Miss);
    for _ in 0..2 {
        assert!(other.call(&cache, line).check().outcome != Outcome::ToolFailure);
    }
    other.call(&cache, line).check().expect(&Outcome::InvocationHit);
}

#[test]
fn a_source_whose_result_is_not_stored() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::with(FILES));
        project.write("d.c", "const char *d = __TIME__;\n");
        let line = format!("{tool} -c a.c d.c b.c");
        let unstable = ["d.o".to_owned()];
        for _ in 0..2 {
            let seen = project.call(&cache, &line).unstable(&unstable).check();
            assert!(matches!(seen.outcome, Outcome::NotStored(_)), "{:?}", seen.outcome);
        }
        assert_eq!(compiled(&cache, &project, &line), 1);
    }
}

/// What gcc runs for one of them is killed: gcc gives up, and compiles none of the others.
#[test]
fn a_compiler_that_is_killed() {
    let (cache, project) = (Cache::new(), Project::with(FILES));
    let cc1 = project.shell(&cache, "gcc -print-prog-name=cc1");
    let script = "#!/bin/sh\ncase \"$*\" in *b.c*) kill -KILL $$;; esac\n";
    project.write_program("tools/cc1", &format!("{script}exec {} \"$@\"\n", cc1.trim()));
    let call = project.call(&cache, "gcc -B tools -c a.c b.c d.c");
    for _ in 0..2 {
        let seen = call.check();
        assert!(seen.done.stderr.contains("terminated program cc1"), "{:?}", seen.done);
    }
    assert!(project.at("a.o").exists() && !project.at("d.o").exists());
}

/// A script may do anything with several sources.
#[test]
fn a_script_named_like_a_compiler() {
    let (cache, project) = (Cache::new(), Project::with(FILES));
    let script =
        "#!/bin/sh\ncase \"$*\" in *a.c*d.c*) extra=-DH=7;; esac\nexec gcc $extra \"$@\"\n";
    project.write_program("tools/gcc", script);
    let line = format!("{} -c a.c d.c", project.at("tools/gcc").display());
    project.write("a.c", "int a = H;\n");
    for _ in 0..3 {
        project.call(&cache, &line).check();
    }
}

#[test]
fn explained() {
    let (cache, project) = (Cache::new(), Project::with(FILES));
    let line = format!("gcc -c {SOURCES}");
    let explain = || {
        let words = ["explain", "--"].into_iter().chain(line.split(' '));
        let done = cache.ibid(words).current_dir(project.path()).output().unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    assert!(explain().starts_with("miss"), "{}", explain());
    project.call(&cache, &line).check();
    assert!(explain().starts_with("hit (a direct hit)"), "{}", explain());
    project.touch("a.c");
    assert!(explain().starts_with("hit (a content hit): each of its sources"), "{}", explain());
    project.write("d.c", "int d;\n");
    let said = explain();
    assert!(said.starts_with("miss 1 of 4 sources must be compiled; d.c: "), "{said}");
    assert!(said.contains("d.c"), "{said}");
}

/// Many, at once, in one cache: all have what the bare tool gives.
#[test]
fn two_such_calls_at_once() {
    let (cache, project) = (Cache::new(), Project::with(FILES));
    let other = Project::with(FILES);
    let start = |project: &Project| {
        let args = ["gcc", "-c", "-O2", "a.c", "b.c", "sub/c.c", "d.c"];
        let mut ibid: Command = cache.ibid(args);
        ibid.current_dir(project.path()).spawn().unwrap()
    };
    for mut child in [start(&project), start(&other), start(&project)] {
        assert!(child.wait().unwrap().success());
    }
    for project in [&project, &other] {
        project.call(&cache, "gcc -c -O2 a.c b.c sub/c.c d.c").check();
    }
}

/// Text that cannot be kept: a device that is full.
#[test]
fn where_text_cannot_be_written() {
    for tool in tools::present(C) {
        for redirection in [">/dev/full", "2>/dev/full", ">/dev/full 2>&1"] {
            let (cache, project) = (Cache::new(), Project::with(FILES));
            let run = |program: &str| {
                let line = format!(
                    "{program} -c -Wall a.c d.c {redirection}; echo $? >status; ls; cat status"
                );
                let text = project.shell(&cache, &line);
                project.shell(&cache, "rm -f *.o status");
                text
            };
            let bare = run(tool);
            let ibid = format!("{} {tool}", env!("CARGO_BIN_EXE_ibid"));
            for _ in 0..2 {
                assert_eq!(run(&ibid), bare, "{tool} {redirection}");
            }
        }
    }
}

/// Lines of a failing source that begin as a program's would: the other sources are compiled all the same.
#[test]
fn lines_that_only_look_like_the_driver_s() {
    let cases = [
        ("#line 1 \"grammar\"\nint f(void) { return undeclared; }\n", "-c -Wall"),
        ("int f(void) { return x; }\n", "-c -Wall -fdiagnostics-format=json"),
        ("__asm__(\".print \\\"todo: fix\\\"\\n.err\");\n", "-c -Wall -pipe"),
    ];
    for (text, flags) in cases {
        let (cache, project) = (Cache::new(), Project::with(FILES));
        project.write("e.c", text);
        for sources in ["a.c e.c d.c", "e.c a.c d.c"] {
            let call = project.call(&cache, &format!("gcc {flags} {sources}"));
            call.check();
            call.check();
            assert!(project.at("d.o").exists(), "{flags} {sources}");
        }
    }
}

/// clang compiles one source in its own process, and of several speaks when all are done.
#[test]
fn a_clang_that_crashes_or_whose_assembler_fails() {
    if !tools::have("clang") {
        return;
    }
    for (crash, flags) in [
        ("#pragma clang __debug crash\n", "-fno-crash-diagnostics -c -Wall"),
        ("__asm__(\"no_such_thing\");\n", "-fno-integrated-as -c -Wall"),
    ] {
        for sources in ["a.c e.c d.c", "e.c a.c d.c", "a.c d.c e.c"] {
            let (cache, project) = (Cache::new(), Project::with(FILES));
            project.write("e.c", crash);
            let line = format!("clang {flags} {sources}");
            let mut ibid = cache.ibid(line.split(' '));
            let bare =
                cache.command("sh").arg("-c").arg(&line).current_dir(project.path()).output();
            let bare = bare.unwrap();
            assert!(project.at("a.o").exists() && !bare.status.success(), "{line}");
            project.shell(&cache, "rm -f *.o");
            for _ in 0..2 {
                let done = ibid.current_dir(project.path()).output().unwrap();
                assert_eq!(done.status.code(), bare.status.code(), "{line}");
                let steady = |text: &[u8]| -> Vec<String> {
                    let text = String::from_utf8_lossy(text).into_owned();
                    let is_steady = |line: &&str| !line.contains("0x") && !line.contains("/tmp/");
                    text.lines().filter(is_steady).map(str::to_owned).collect()
                };
                assert_eq!(steady(&done.stderr), steady(&bare.stderr), "{line}");
                assert!(project.at("d.o").exists() && project.at("a.o").exists(), "{line}");
                project.shell(&cache, "rm -f *.o");
            }
            assert_eq!(cache.counters().get("tool_failures"), 2, "{line}");
        }
    }
}

/// Variables that give options, or name files to which the tool adds.
#[test]
fn options_from_the_environment() {
    let cases = [
        ("clang", "CCC_OVERRIDE_OPTIONS", "+-O1"),
        ("clang", "CCC_OVERRIDE_OPTIONS", "#+-omain.o"),
        ("clang", "CC_PRINT_OPTIONS", "1"),
        ("gcc", "DEPENDENCIES_OUTPUT", "deps x"),
    ];
    for (tool, name, value) in cases.into_iter().filter(|(tool, ..)| tools::have(tool)) {
        let (cache, project) = (Cache::new(), Project::with(FILES));
        let line = format!("{tool} -c -Wall a.c d.c");
        for _ in 0..2 {
            project.call(&cache, &line).env(name, value).check();
        }
    }
}
