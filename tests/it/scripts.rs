//! Wrong hits of a script that stands before the compiler and bears its name: whatever a shell, or a program that it starts,
//! can ask of the world may be in the result.
//!
//! A case: how the script finds `H`, what is there, what changes.

use std::path::Path;

use crate::cache::{Cache, Outcome};
use crate::call::{StdIn, StdOut, Through};
use crate::cases;
use crate::project::Project;
use crate::scene::Scene;
use crate::tools::{GCC, have, skip};

/// A script that sets `H` by these lines and compiles.
fn text(lines: &str) -> String {
    format!("#!/bin/bash\n{lines}\nexec gcc -DH=$H \"$@\"\n")
}

fn script(s: &mut Scene, lines: &str) {
    s.write_program("b/gcc", &text(lines));
    s.write("a.c", "long a = H;\n");
    s.tool("{root}/b/gcc");
    s.args("-c a.c -o a.o");
}

cases! {
    size: GCC,
        |s| { script(s, "H=$(stat -c %s f)"); s.write("f", "1"); },
        |s| { s.write("f", "22"); };
    emptiness: GCC,
        |s| { script(s, "H=1; if [ -s f ]; then H=2; fi"); s.write("f", ""); },
        |s| { s.write("f", "1"); };
    time: GCC,
        |s| { script(s, "H=$(stat -c %Y f)"); s.write("f", "1"); },
        |s| { s.sh("touch -d 2001-01-01 f"); };
    time_of_what_is_compiled: GCC,
        |s| { script(s, "H=$(stat -c %Y a.c)"); },
        |s| { s.sh("touch -d 2001-01-01 a.c"); };
    which_is_newer: GCC,
        |s| { script(s, "H=1; if [ f -nt g ]; then H=2; fi"); s.write("f", ""); s.write("g", ""); s.sh("touch -d 2001-01-01 f"); },
        |s| { s.touch("f"); };
    number_of_links: GCC,
        |s| { script(s, "H=$(stat -c %h f)"); s.write("f", "1"); },
        |s| { s.hard_link("f", "g"); };
    one_file_or_two: GCC,
        |s| { script(s, "H=1; if [ f -ef g ]; then H=2; fi"); s.write("f", ""); s.hard_link("f", "g"); },
        |s| { s.remove("g"); s.write("g", ""); };
    permission: GCC,
        |s| { script(s, "H=1; if [ -x f ]; then H=2; fi"); s.write("f", ""); },
        |s| { s.chmod("f", 0o755); };
    what_a_pattern_matches: GCC,
        |s| { script(s, "f=(d/*); H=${#f[@]}"); s.write("d/1", ""); },
        |s| { s.write("d/2", ""); };
    compiler_that_a_file_names: GCC,
        |s| { s.write_program("b/gcc", "#!/bin/sh\nexec $(cat which) \"$@\"\n"); s.write("which", "gcc -DH=1"); s.write("a.c", "int a = H;\n"); s.tool("{root}/b/gcc"); s.args("-c a.c -o a.o"); },
        |s| { s.write("which", "gcc -DH=2"); };
    program_that_is_found: GCC,
        |s| { script(s, "H=$(PATH=x:y:$PATH; command -v p | cksum | cut -c1-9)"); s.write_program("y/p", ""); s.mkdir("x"); },
        |s| { s.write_program("x/p", ""); };
    lines_that_are_read_in: GCC,
        |s| { script(s, "PATH=x:y:$PATH; . lines"); s.write("y/lines", "H=1\n"); s.mkdir("x"); },
        |s| { s.write("x/lines", "H=2\n"); };
    where_a_step_leads: GCC,
        |s| { script(s, "H=$(cd l && pwd -P | wc -c)"); s.mkdir("d"); s.mkdir("dd"); s.symlink("d", "l"); },
        |s| { s.symlink("dd", "l"); };
    bit_of_a_directory: GCC,
        |s| { script(s, "H=1; if [ -k d ]; then H=2; fi"); s.mkdir("d"); },
        |s| { s.chmod("d", 0o1755); };
    variable_of_no_name_in_particular: GCC,
        |s| { script(s, "H=$(env | wc -l)"); },
        |s| { s.env("SOME_VARIABLE", "x"); };
    terminal: GCC,
        |s| { script(s, "H=1; if [ -t 2 ]; then H=2; fi"); },
        |s| { s.stdout(StdOut::Terminal(80)); s.may_hit_or_not(); };
    name_of_the_script: GCC,
        |s| { script(s, "H=${#0}"); },
        |s| { s.tool("b/gcc"); };
}

const LINE: &str = "./gcc -c a.c -o a.o";

fn project(lines: &str) -> Project {
    let project = Project::with(&[("a.c", "long a = H;\n"), ("one", "1\n"), ("two", "2\n")]);
    project.write_program("gcc", &text(lines));
    project
}

#[test]
fn standard_input_that_is_read() {
    let (cache, project) = (Cache::new(), project("read H || H=0"));
    for (input, outcome) in [
        (StdIn::Null, Outcome::Miss),
        (StdIn::Null, Outcome::InvocationHit),
        (StdIn::File("one".into()), Outcome::NotStored("unrepeatable_input".into())),
        (StdIn::File("two".into()), Outcome::NotStored("unrepeatable_input".into())),
        (StdIn::Null, Outcome::InvocationHit),
    ] {
        project.call(&cache, LINE).stdin(input).check().expect(&outcome);
    }
}

/// As under `make` in a terminal, or in a script that has a list on its standard input.
#[test]
fn standard_input_that_is_left_alone() {
    let (cache, project) = (Cache::new(), project("H=1"));
    let with = |input| project.call(&cache, LINE).stdin(input).check();
    with(StdIn::File("one".into())).expect(&Outcome::Miss);
    with(StdIn::File("two".into())).expect_hit();
    with(StdIn::Null).expect_hit();
}

#[test]
fn name_of_the_machine() {
    if !have("unshare") || !have("hostname") {
        return;
    }
    let (cache, project) = (Cache::new(), project("H=$(hostname | wc -c)"));
    let named = |name: &str| {
        let line = format!("hostname {name} && exec \"$0\" {LINE}");
        let compile = ["--uts", "--map-root-user", "sh", "-c", line.as_str()];
        let ibid: &Path = crate::tools::ibid();
        let mut unshare = cache.command("unshare");
        unshare.args(compile).arg(ibid).current_dir(project.path());
        unshare.output().unwrap().status.success().then(|| project.read("a.o"))
    };
    let Some(first) = named("one") else { return skip("no namespace may be made here") };
    let hits = cache.count(|| assert_eq!(named("one"), Some(first.clone())));
    assert!(hits.outcome().is_hit(), "{hits:?}");
    assert_ne!(named("three"), Some(first));
}

/// What a shell asks about itself at its start is not in the result of a script that cannot show it.
#[test]
fn scripts_by_other_names() {
    for (shell, lines) in [
        ("/bin/sh", "exec gcc \"$@\""),
        ("/bin/bash", "exec gcc \"$@\""),
        ("/usr/bin/env bash", "exec gcc \"$@\""),
        ("/bin/bash", "set -e\nif [ -e f ]; then set -- -DF \"$@\"; fi\ngcc \"$@\""),
        ("/bin/sh", "H=$(cat one | cut -c1-1)\nexec gcc -DH=$H \"$@\""),
    ] {
        let (cache, project) = (Cache::new(), project("H=1"));
        project.write_program("wrap", &format!("#!{shell}\n{lines}\n"));
        let call =
            || project.call(&cache, "./wrap -DH=1 -c a.c -o a.o").through(Through::Exec).check();
        call();
        // What it makes may depend on what was there.
        call();
        call().expect_hit();
        project.write("a.c", "long a = H + 1;\n");
        assert!(!call().outcome.is_hit(), "{shell} {lines}");
    }
}

/// Whatever it is called: a script that shows what its shell alone knows is never stored.
#[test]
fn scripts_that_show_what_differs() {
    for (shell, lines) in [
        ("/bin/bash", "H=$RANDOM"),
        ("/bin/bash", "H=$SRANDOM"),
        ("/bin/bash", "H=$EPOCHSECONDS"),
        ("/bin/bash", "H=$(printf '%(%s)T' -2)"),
        ("/bin/bash", "H=$(date +%s)"),
        ("/bin/bash", "H=$$"),
        ("/bin/bash", "H=$PPID"),
        ("/bin/bash", "true & H=$!"),
        ("/bin/sh", "H=$$"),
        ("/bin/sh", "H=$PPID"),
        ("/bin/sh", "true & H=$!"),
        ("/bin/sh", "H=$(date +%s%N)"),
    ] {
        for exec in [false, true] {
            let (cache, project) = (Cache::new(), project("H=1"));
            project
                .write_program("b/gcc", &format!("#!{shell}\n{lines}\nexec gcc -DH=$H \"$@\"\n"));
            for _ in 0..2 {
                let prefix: &[&str] = if exec { &["exec", "--"] } else { &[] };
                let counted = cache.count(|| {
                    let mut call = cache.ibid(prefix);
                    call.args(["b/gcc", "-c", "a.c", "-o", "a.o"]).current_dir(project.path());
                    assert!(call.output().unwrap().status.success());
                });
                let outcome = counted.outcome();
                assert!(
                    matches!(outcome, Outcome::NotStored(_)),
                    "{shell} {lines} {exec}: {outcome:?}"
                );
            }
        }
    }
}

/// Roundabout ways to the same, by another name than a compiler's.
#[test]
fn scripts_that_may_show_what_differs() {
    for (lines, variable) in [
        ("x=RAN; x=${x}DOM; H=${!x}", ("X", "")),
        ("eval \"H=$X\"", ("X", "$RANDOM")),
        (". ./lines", ("X", "")),
        ("H=$((X))", ("X", "RANDOM")),
        ("H=$(set | cksum | cut -c1-9)", ("X", "")),
        ("H=1", ("BASH_ENV", "./lines")),
        ("H=1", ("BASH_FUNC_gcc%%", "() { command gcc -UH -DH=$RANDOM \"$@\"\n}")),
        ("sh -c 'exec gcc -DH=$$ -c a.c -o a.o'; exit", ("X", "")),
    ] {
        let (cache, project) = (Cache::new(), project("H=1"));
        project.write("lines", "H=$RANDOM; readonly H\n");
        project.write_program("wrap", &format!("#!/bin/bash\n{lines}\ngcc -DH=$H \"$@\"\n"));
        for _ in 0..2 {
            let counted = cache.count(|| {
                let mut call = cache.ibid(["exec", "--", "./wrap", "-c", "a.c", "-o", "a.o"]);
                call.env(variable.0, variable.1).current_dir(project.path());
                call.output().unwrap();
            });
            assert!(
                !counted.outcome().is_hit() && counted.get("stored") == 0,
                "{lines}: {counted:?}"
            );
        }
    }
}
