//! What the first word after `ibid` is: a subcommand, a slip, an old habit or a tool.

use std::fs;
use std::process::Output;

use crate::cache::Cache;
use crate::project::Project;
use crate::tools;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A place with programs first on `PATH` that leave a trace (`ran`) and do what gcc does.
struct Place {
    cache: Cache,
    project: Project,
}

impl Place {
    fn with_programs(names: &[&str]) -> Place {
        let project = Project::with(&[("a.c", "int a;\n")]);
        for name in names {
            let gcc = tools::path_of("gcc");
            let program = format!("#!/bin/sh\necho {name} >>ran\nexec {} \"$@\"\n", gcc.display());
            project.write_program(&format!("bin/{name}"), &program);
        }
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", project.at("bin").display());
        Place { cache: Cache::new().with("PATH", path), project }
    }

    fn run(&self, line: &str) -> Output {
        let words = line.split(' ').skip(1);
        self.cache.ibid(words).current_dir(self.project.path()).output().unwrap()
    }

    /// Whether any of the programs ran since the last time.
    fn ran(&self) -> bool {
        fs::remove_file(self.project.at("ran")).is_ok()
    }
}

#[test]
fn a_slip_runs_nothing() {
    let place =
        Place::with_programs(&["init", "help", "stat", "doc", "conf", "expalin", "mycc", "Stats"]);
    for (line, meant) in [
        ("ibid init", "install"),
        ("ibid help", "--help"),
        ("ibid status", "stats"),
        ("ibid stat", "stats"),
        ("ibid stat --json", "stats"),
        ("ibid Stats --zero", "stats"),
        ("ibid doc", "doctor"),
        ("ibid conf get max_size", "config"),
        ("ibid expalin -- gcc -c a.c -o a.o", "explain"),
        ("ibid expalin --json -- gcc -c a.c", "explain"),
        ("ibid mycc", ""),
        ("ibid no-such-program", ""),
    ] {
        let done = place.run(line);
        assert_eq!(done.status.code(), Some(2), "{line}: {done:?}");
        let said = text(&done.stderr);
        assert!(done.stdout.is_empty() && said.lines().count() == 1, "{line}: {said}");
        assert!(said.contains(&format!("is it `{meant}")), "{line}: {said}");
        let is_long = line.contains("no-such-program");
        assert!(is_long || said.trim_end().chars().count() <= 80, "{said}");
        assert!(!place.ran() && !place.project.at("a.o").exists(), "{line} ran something");
    }
    let said = text(&place.run("ibid init").stderr);
    let expected = "ibid: no subcommand `init`; is it `install`? (to run it: `ibid exec init`)\n";
    assert_eq!(said, expected);
    assert_eq!(text(&place.run("ibid a\u{1b}[31mb").stderr).find('\u{1b}'), None);
}

#[test]
fn tools_still_run() {
    let place = Place::with_programs(&["mycc", "stat", "statz", "doctor", "init", "gc"]);
    for line in [
        "ibid mycc -c a.c -o a.o",
        "ibid mycc -O2 a.c -c",
        "ibid stat -c a.c -o a.o",
        "ibid statz a.c -c",
        "ibid init -c a.c",
        "ibid ./bin/doctor -c a.c",
        "ibid bin/gc -c a.c",
        "ibid bin/stat --version",
        "ibid exec -- mycc --version",
        "ibid exec init --version",
    ] {
        for _ in 0..2 {
            let done = place.run(line);
            assert!(done.status.success(), "{line}: {done:?}");
            if !line.starts_with("ibid exec") {
                assert!(place.ran(), "{line}");
            }
        }
    }
    for (line, status) in [
        ("ibid no-such-gcc -c a.c", 127),
        ("ibid no-such-program x", 127),
        ("ibid ./init", 127),
        ("ibid stats", 0),
        ("ibid gcc", 1),
    ] {
        assert_eq!(place.run(line).status.code(), Some(status), "{line}");
    }
}

/// What ccache and sccache take as a whole command line.
#[test]
fn old_habits() {
    let place = Place::with_programs(&[]);
    place.run("ibid gcc -c a.c -o a.o");
    assert_eq!(place.cache.counters().get("misses"), 1);
    for line in ["ibid -s", "ibid --show-stats"] {
        let done = place.run(line);
        assert_eq!(done.stdout, place.run("ibid stats").stdout, "{line}");
        assert!(done.status.success() && !done.stdout.is_empty(), "{line}");
    }
    for line in ["ibid -z", "ibid --zero-stats"] {
        place.run("ibid gcc -c a.c -o a.o");
        assert!(place.run(line).status.success(), "{line}");
        assert_eq!(place.cache.counters().outcomes(), 0, "{line}");
    }
    for line in ["ibid -C", "ibid --clear"] {
        place.run("ibid gcc -c a.c -o a.o");
        assert_eq!(place.cache.counters().get("records"), 1, "{line}");
        assert!(place.run(line).status.success(), "{line}");
        assert_eq!(place.cache.counters().get("records"), 0, "{line}");
    }
    for (line, size) in
        [("ibid --max-size 9G", "9G\n"), ("ibid --max-size=8G", "8G\n"), ("ibid -M 7G", "7G\n")]
    {
        assert!(place.run(line).status.success(), "{line}");
        assert_eq!(text(&place.run("ibid config get max_size").stdout), size, "{line}");
    }
    assert_eq!(text(&place.run("ibid config get max_size").stdout), "7G\n");
    for line in [
        "ibid -s -z",
        "ibid -s a.o",
        "ibid -C dir",
        "ibid -M",
        "ibid -M a.c",
        "ibid -M 10",
        "ibid -M 5G x",
        "ibid --show-stats --json",
        "ibid --clear x",
        "ibid --max-size",
        "ibid --max-size 10",
        "ibid --max-size=",
        "ibid --max-size=a.c",
    ] {
        let done = place.run(line);
        assert_eq!(done.status.code(), Some(2), "{line}: {done:?}");
        let lines = text(&done.stderr).lines().count();
        assert!((1..=8).contains(&lines) && done.stdout.is_empty(), "{line}: {done:?}");
    }
    assert_eq!(text(&place.run("ibid config get max_size").stdout), "7G\n");
}
