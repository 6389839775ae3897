//! Files that come and go in many states, as edits, reverts, bisects and configure make them: each state that was compiled
//! once is a hit ever after, however many there were.

use std::process::Command;

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::rustc;
use crate::tools;

/// Two rounds over so many states; `write` makes a state. In the second round nothing is compiled, and each result is
/// that of the bare tool.
#[track_caller]
fn two_rounds(line: &str, outputs: &[&str], states: usize, write: impl Fn(&Project, usize)) {
    let (cache, project) = (rustc::cache(), Project::new());
    let mut words = line.split_whitespace();
    let (tool, args) = (words.next().unwrap(), words.collect::<Vec<_>>());
    let run = |mut command: Command| {
        let done = command.current_dir(project.path()).args(&args).output().unwrap();
        let files: Vec<_> = outputs.iter().map(|name| project.read(name)).collect();
        (done.status, done.stdout, done.stderr, files)
    };
    for round in 0..2 {
        for state in 0..states {
            write(&project, state);
            settle();
            let mut seen = None;
            let counted = cache.count(|| seen = Some(run(cache.ibid([tool]))));
            let outcome = counted.outcome();
            if round == 0 {
                assert!(outcome.is_miss(), "{line}, state {state}: {outcome:?}");
                continue;
            }
            assert_eq!(outcome, Outcome::PortableHit, "{line}, state {state}");
            for name in outputs {
                project.remove(name);
            }
            assert_eq!(seen, Some(run(cache.command(tool))), "{line}, state {state}");
        }
    }
}

/// Until a file that was written just now is old enough to be an input.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(30));
}

const C: &[&str] = &["gcc", "clang"];

#[test]
fn twenty_states_of_a_header() {
    for tool in tools::present(C) {
        two_rounds(&format!("{tool} -g -c a.c -o a.o"), &["a.o"], 20, |project, state| {
            project.write("a.c", "#include \"a.h\"\nint a(void) { return A; }\n");
            project.write("a.h", format!("#define A {state}\n"));
        });
    }
}

/// Each state reads a file that no other reads, so that each has a path set of its own.
#[test]
fn twenty_states_of_a_header_that_include_others() {
    for tool in tools::present(C) {
        two_rounds(&format!("{tool} -c a.c -o a.o"), &["a.o"], 20, |project, state| {
            project.write("a.c", "#include \"a.h\"\nint a(void) { return A; }\n");
            project.write("a.h", format!("#include \"{state}.h\"\n"));
            project.write(&format!("{state}.h"), format!("#define A {state}\n"));
        });
    }
}

/// As configure does: one name, a hundred sources.
#[test]
fn a_hundred_states_of_a_source() {
    for tool in tools::present(C) {
        two_rounds(&format!("{tool} -c conftest.c"), &["conftest.o"], 100, |project, state| {
            project.write(
                "conftest.c",
                format!("char check_{state}(void);\nint main(void) {{ return {state}; }}\n"),
            );
        });
    }
}

#[test]
fn thirty_states_of_a_rust_module() {
    let Some(tools) = rustc::toolchain() else { return };
    let tool = tools.join("rustc");
    let line =
        format!("{} --crate-type lib --emit metadata,link src/lib.rs --out-dir .", tool.display());
    two_rounds(&line, &["liblib.rlib", "liblib.rmeta"], 30, |project, state| {
        if state == 0 {
            project.write("src/lib.rs", "mod part;\npub fn whole() -> u32 { part::part() }\n");
        }
        project.write("src/part.rs", format!("pub fn part() -> u32 {{ {state} }}\n"));
    });
}

/// Twenty values of one variable that the compiler reads: it belongs to what a result is found by.
#[test]
fn twenty_values_of_a_variable() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::new());
        project.write("a.c", "#include <a.h>\nint a = A;\n");
        for state in 0..20 {
            project.write(&format!("{state}/a.h"), format!("#define A {state}\n"));
        }
        for round in 0..2 {
            for state in 0..20 {
                let call = project.call(&cache, &format!("{tool} -c a.c -o a.o"));
                let seen = call.env("CPATH", state.to_string()).check();
                assert_eq!(seen.outcome.is_hit(), round == 1, "{tool}, value {state}");
            }
        }
    }
}
