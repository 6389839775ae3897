//! Text that cannot be written: on a hit and on a miss, the status and the files are those of the bare tool.

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::rustc;
use crate::tools;

/// A pipe that nobody reads, as standard error or standard output.
const UNREAD: &str = "mkfifo f && exec 3<>f && exec 2>f && exec 3>&- && rm f";
const UNREAD_OUT: &str = "mkfifo f && exec 3<>f && exec 1>f && exec 3>&- && rm f";

/// What a shell does before.
const FOR_ERRORS: &[&str] = &[
    "exec 2>/dev/full",
    "exec 2</dev/null",
    UNREAD,
    "trap '' PIPE; mkfifo f && exec 3<>f && exec 2>f && exec 3>&- && rm f",
    "exec >/dev/full 2>&1",
];
const FOR_OUTPUT: [&str; 4] = [
    "exec >/dev/full",
    "exec </dev/null >&0",
    UNREAD_OUT,
    "trap '' PIPE; mkfifo f && exec 3<>f && exec 1>f && exec 3>&- && rm f",
];

const WARNS: &str = "int f(void) { int unused; }\n";

fn warns(tool: &str) -> String {
    format!("{tool} -Wall -c w.c -o w.o")
}

fn project() -> Project {
    Project::with(&[("w.c", WARNS), ("w.rs", "pub fn f() { let unused = 1; }\n")])
}

/// Each line with each redirection, first as a hit and then as the first call of all.
fn check(lines: &[String], setups: &[&str]) {
    for line in lines.iter().filter(|line| tools::have(line.split(' ').next().unwrap())) {
        let (cache, project) = (rustc::cache(), project());
        let call = |setup: &str| project.call(&cache, line).after(setup);
        call(":").check().expect_miss();
        call(":").check().expect_hit();
        for setup in setups {
            let seen = call(setup).check();
            assert_eq!(
                seen.outcome,
                Outcome::PassedThrough("unwritable_text".to_owned()),
                "{line}: {setup}"
            );
            call(":").check().expect_hit();
        }
        for setup in setups {
            let cache = rustc::cache();
            for _ in 0..2 {
                let seen = project.call(&cache, line).after(setup).check();
                assert!(!seen.outcome.is_hit(), "{line}: {setup}");
            }
        }
    }
}

#[test]
fn warnings() {
    let rustc = "rustc --crate-type lib --emit=metadata,dep-info w.rs".to_owned();
    check(&[warns("gcc"), warns("clang"), rustc], FOR_ERRORS);
}

#[test]
fn answers() {
    let line = |line: &str| line.to_owned();
    // What rustc says of it has addresses in it.
    let setups = FOR_OUTPUT.map(|setup| format!("{setup}; exec 2>/dev/null"));
    let setups: Vec<&str> = setups.iter().map(String::as_str).collect();
    check(&[line("rustc --print sysroot"), line("rustc -vV")], &setups);
}

/// A compile that says nothing does not care.
#[test]
fn silence() {
    let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a;\n")]));
    let call = |setup: &str| project.call(&cache, "gcc -c a.c -o a.o").after(setup);
    call(":").check().expect_miss();
    for setup in FOR_ERRORS {
        call(setup).check().expect(&Outcome::InvocationHit);
    }
}

/// A reader that goes away in the middle of a text that a pipe does not hold.
#[test]
fn a_reader_that_goes_away() {
    let lines: Vec<String> = (0..3000).map(|at| format!("#warning number {at}\n")).collect();
    let lines = lines.concat();
    let (cache, project) = (Cache::new(), Project::with(&[("w.c", &lines)]));
    let line = "gcc -c w.c -o w.o";
    // The text is too long to be shown where this fails.
    assert!(project.call(&cache, line).check().outcome.is_miss());
    assert!(project.call(&cache, line).check().outcome.is_hit());
    let status = |tool: &str| {
        let line = format!(
            "rm -f w.o; {{ {tool} {line} 2>&1; echo $? >status; }} | head -c 100 >/dev/null; cat status; ls w.o || :"
        );
        project.shell(&cache, &line)
    };
    let ibid = tools::ibid().display().to_string();
    for trap in ["", "trap '' PIPE; "] {
        assert_eq!(status(&format!("{trap}{ibid}")), status(trap), "{trap}");
    }
}

/// What a stream still holds is written when it is closed; a full disk shows only then.
#[test]
fn a_full_disk_at_the_close_of_a_stream() {
    if !tools::is_root() || !tools::have("mount") || !tools::have("unshare") {
        return tools::skip("mounting a small disk needs root");
    }
    for tool in tools::present(&["gcc", "g++"]) {
        for is_trusted in [false, true] {
            let cache = Cache::new();
            let project = Project::with(&[("a.c", "int f(int a) { return a + 1; }\n")]);
            let ibid = tools::ibid().display();
            if is_trusted {
                project.write("w.c", "int w;\n");
                project.shell(&cache, &format!("{ibid} {tool} -x c -c w.c -o w.o"));
            }
            // The depfile, and then the assembler text between the programs, on a disk without room.
            for command in ["-MD -MF m/a.d -c a.c -o a.o", "-c a.c -o a.o"] {
                let line = format!(
                    "mkdir -p m && mount -t tmpfs -o size=16k none m && head -c 16384 /dev/zero > m/fill\n\
                     export TMPDIR=$PWD/m\n\
                     {tool} -x c {command} 2>/dev/null; echo $?\n\
                     {ibid} {tool} -x c {command} 2>/dev/null; echo $?\n\
                     rm -f m/fill a.o; {tool} -x c {command} && cp a.o bare.o\n\
                     rm -f a.o; {ibid} {tool} -x c {command} && cmp a.o bare.o && echo same"
                );
                project.write("line", line);
                let said = project.shell(&cache, "unshare -m sh line");
                let words: Vec<&str> = said.split_whitespace().collect();
                assert_eq!(words[0], words[1], "{tool} {command}: bare, ibid");
                assert_eq!(words[2..], ["same"], "{tool} {command}: {said}");
            }
        }
    }
}
