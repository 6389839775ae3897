//! `ibid explain` says what a call would do, under every setting, and in words what differs.

use serde_json::Value;

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::tools;

/// A project of which `gcc -DA=1 -c a.c -o a.o` is stored, and in which something else was done since.
struct Place {
    cache: Cache,
    project: Project,
}

impl Place {
    fn new() -> Place {
        let files = [
            ("a.c", "#include \"h.h\"\nint a = H;\n"),
            ("b.c", "int b;\n"),
            ("h.h", "#define H 1\n"),
        ];
        let place = Place { cache: Cache::new(), project: Project::with(&files) };
        place.project.mkdir("below");
        let stored = place.project.call(&place.cache, "gcc -DA=1 -c a.c -o a.o");
        stored.check().expect(&Outcome::Miss);
        place
    }

    fn explain(&self, below: &str, line: &str, variables: &[(&str, &str)]) -> String {
        let words = ["explain", "--"].into_iter().chain(line.split(' '));
        let mut command = self.cache.ibid(words);
        let command = command.current_dir(self.project.at(below)).envs(variables.iter().copied());
        let done = command.output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{line}: {done:?}");
        String::from_utf8(done.stdout).unwrap().trim_end().to_owned()
    }
}

#[test]
fn what_differs_in_words() {
    let place = Place::new();
    for (line, said) in [
        ("gcc -DA=1 -c a.c -o a.o", "hit (a direct hit): every input has its recorded stamp"),
        ("gcc -DNDEBUG -DA=1 -c a.c -o a.o", "miss `-DNDEBUG` is new"),
        ("gcc -c a.c -o a.o", "miss `-DA=1` is gone"),
        ("gcc -DA=2 -c a.c -o a.o", "miss `-DA=2` is new, it was `-DA=1`"),
        (
            "gcc -DA=1 -c a.c -o x.o",
            "hit (a content hit): made elsewhere, or under another name; every input has its recorded content",
        ),
        ("gcc -g -DA=1 -c a.c -o a.o", "miss `-g` is new"),
        ("gcc -c a.c -DA=1 -o a.o", "miss the arguments are in another order"),
        ("gcc -DA=1 -c b.c -o a.o", "miss no such compile of b.c is stored"),
        ("clang -DA=1 -c a.c -o a.o", "miss the tool is clang, it was gcc"),
        ("clang -DA=1 -c b.c -o a.o", "miss nothing is stored for this tool"),
        ("no-such-gcc -c a.c", "miss there is no no-such-gcc"),
        (
            "gcc --version",
            "miss the command passes through (query): a question to the tool (--version)",
        ),
    ] {
        if line.starts_with("clang") && !tools::have("clang") {
            continue;
        }
        assert_eq!(place.explain("", line, &[]), said, "{line}");
    }
    let said = place.explain("below", "gcc -DA=1 -c a.c -o a.o", &[]);
    assert!(
        said.starts_with("miss the working directory is ") && said.contains("it was"),
        "{said}"
    );
    // Touched only: that is no difference.
    place.project.touch("a.c");
    place.project.write("h.h", "#define H 2\n");
    let said = place.explain("", "gcc -DA=1 -c a.c -o a.o", &[]);
    assert!(said.starts_with("miss ") && said.ends_with("h.h has changed"), "{said}");
}

/// Another program of a name that was looked up in `PATH`, another directory without one, and none.
#[test]
fn what_path_finds() {
    let place = Place::new();
    let path = std::env::var("PATH").unwrap();
    let (bin, line) = (place.project.at("bin"), "gcc -DA=1 -c a.c -o a.o");
    place.project.mkdir("bin");
    let with_bin = format!("{}:{path}", bin.display());
    assert!(place.explain("", line, &[("PATH", &with_bin)]).starts_with("hit "));
    let assembler = tools::path_of("as");
    std::os::unix::fs::symlink(&assembler, bin.join("as")).unwrap();
    let said = place.explain("", line, &[("PATH", &with_bin)]);
    let (new, old) = (bin.join("as"), assembler.display());
    assert_eq!(
        said,
        format!("miss `PATH` now finds another `as`: {}, it was {old}", new.display())
    );
    let none = place.project.at("none");
    place.project.mkdir("none");
    std::os::unix::fs::symlink(tools::path_of("gcc"), none.join("gcc")).unwrap();
    let said = place.explain("", line, &[("PATH", none.to_str().unwrap())]);
    assert!(said.starts_with("miss ") && said.contains("`PATH` no"), "{said}");
}

/// Of several records, the one of the same source is compared with.
#[test]
fn the_nearest_record() {
    let place = Place::new();
    for line in ["gcc -DA=1 -O2 -Wall -c b.c -o a.o", "gcc -c b.c -o a.o"] {
        place.project.call(&place.cache, line).check().expect(&Outcome::Miss);
    }
    for (line, said) in [
        ("gcc -DA=1 -O2 -Wall -c a.c -o a.o", "miss `-O2` is new"),
        ("gcc -O2 -Wall -c b.c -o a.o", "miss `-DA=1` is gone"),
    ] {
        assert_eq!(place.explain("", line, &[]), said, "{line}");
    }
}

/// A line as make or cargo shows it.
#[test]
fn pasted_lines() {
    let place = Place::new();
    let ibid = tools::ibid().display();
    for line in [
        "ibid gcc -DA=1 -c a.c -o a.o".to_owned(),
        format!("{ibid} gcc -DA=1 -c a.c -o a.o"),
        "CARGO_PKG_NAME=x CCACHE_DIR=/y ibid gcc -DA=1 -c a.c -o a.o".to_owned(),
    ] {
        let said = place.explain("", &line, &[]);
        assert!(said.starts_with("hit "), "{line}: {said}");
    }
    // As one quoted line, with what is around it.
    let directory = place.project.path().display().to_string();
    let as_make_does = format!("cd {directory} && {ibid} gcc -DA=1 -c a.c -o a.o");
    place.project.shell(&place.cache, &as_make_does);
    for line in [
        "gcc -DA=1 -c a.c -o a.o".to_owned(),
        format!("[3/9] {ibid} gcc '-DA=1' -c \"a.c\" -o a.o"),
        format!("cd {directory} && ibid gcc -DA=1 -c a.c -o a.o >/dev/null 2>&1"),
        "libtool: compile:  gcc -DA=1 -c a.c -o a.o".to_owned(),
    ] {
        let mut command = place.cache.ibid(["explain", "--", &line]);
        let below = if line.starts_with("cd") { "below" } else { "" };
        let done = command.current_dir(place.project.at(below)).output().unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        assert!(said.starts_with("hit "), "{line}: {said}");
    }
    // What the compiler reads of them counts.
    let said = place.explain("", "CPATH=/nowhere gcc -DA=1 -c a.c -o a.o", &[]);
    assert!(said.starts_with("miss ") && said.contains("CPATH"), "{said}");
}

/// What `cargo build -v` shows lacks the variables that cargo sets for a crate, and that macros and the loader read.
#[test]
fn lines_of_cargo() {
    if !tools::have("cargo") {
        return;
    }
    let cache = crate::rustc::cache().with("RUSTC_WRAPPER", tools::ibid());
    let project = Project::with(&[
        ("Cargo.toml", "[package]\nname = \"p\"\nversion = \"1.2.3\"\nedition = \"2021\"\n"),
        ("src/lib.rs", "pub mod m;\npub const V: &str = env!(\"CARGO_PKG_VERSION\");\n"),
        ("src/m.rs", "pub fn m() {}\n"),
        ("src/main.rs", "fn main() { p::m::m(); }\n"),
    ]);
    let mut cargo = cache.command("cargo");
    let built = cargo.args(["build", "-v"]).current_dir(project.path()).output().unwrap();
    assert!(built.status.success(), "{built:?}");
    let log = String::from_utf8(built.stderr).unwrap();
    let lines: Vec<_> = log.lines().map(str::trim).filter(|l| l.starts_with("Running ")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    let explain = |line: &str| {
        let mut command = cache.ibid(["explain", "--", line]);
        let done = command.current_dir(project.path()).output().unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    for line in &lines {
        let said = explain(line);
        assert!(said.starts_with("hit (if cargo sets the variables"), "{line}: {said}");
        let bare = line.trim_start_matches("Running `").trim_end_matches('`');
        let bare = bare.strip_prefix(tools::ibid().to_str().unwrap()).unwrap();
        assert_eq!(explain(bare), said, "{bare}");
    }
    project.write("src/m.rs", "pub fn m() {}\npub fn n() {}\n");
    assert_eq!(explain(lines[0]), "miss src/m.rs has changed\n");
    // A variable that is set to something else counts.
    let said = explain(&format!(
        "CARGO_PKG_VERSION=9 {}",
        lines[0].replace("Running ", "").replace('`', "")
    ));
    assert_eq!(said, "miss variable CARGO_PKG_VERSION has another value\n");
}

/// What is said is what happens.
#[test]
fn true_under_every_setting() {
    for (name, value) in [
        ("IBID_DISABLE", "1"),
        ("IBID_DISABLE", "0"),
        ("IBID_RECACHE", "1"),
        ("IBID_READONLY", "1"),
        ("IBID_OBSERVER", "off"),
        ("IBID_OBSERVER", "seccomp"),
        ("IBID_ROOT", "/tmp"),
        ("IBID_REMAP", "auto"),
        ("IBID_MAX_SIZE", "1G"),
        ("IBID_LOG", "1"),
        ("IBID_DIR", "/proc/nowhere"),
    ] {
        let place = Place::new();
        let line = "gcc -DA=1 -c a.c -o a.o";
        let said = place.explain("", line, &[(name, value)]);
        let before = place.cache.counters();
        let mut command = place.cache.ibid(line.split(' '));
        command.current_dir(place.project.path()).env(name, value);
        assert!(command.status().unwrap().success());
        let is_hit = place.cache.counters().since(&before).hits() == 1;
        assert_eq!(said.starts_with("hit "), is_hit, "{name}={value}: {said}");
        // The same by the settings file.
        let key = name.strip_prefix("IBID_").unwrap().to_lowercase();
        if !["dir", "log"].contains(&key.as_str()) {
            let place = Place::new();
            place.cache.say(&["config", "set", &key, value]);
            assert_eq!(place.explain("", line, &[]), said, "{key} = {value}");
        }
    }
}

#[test]
fn as_json() {
    let place = Place::new();
    let explain = |line: &str| -> Value {
        let words = ["explain", "--json", "--"].into_iter().chain(line.split(' '));
        let done = place.cache.ibid(words).current_dir(place.project.path()).output().unwrap();
        serde_json::from_slice(&done.stdout).unwrap()
    };
    let hit = explain("gcc -DA=1 -c a.c -o a.o");
    assert!(hit["verdict"] == "hit" && hit["reason"].is_null(), "{hit}");
    let miss = explain("gcc -g -DA=1 -c a.c -o a.o");
    assert!(miss["verdict"] == "miss" && miss["because"] == "`-g` is new", "{miss}");
    assert_eq!(explain("gcc --version")["reason"], "query");
    // Nothing was counted, and nothing is stored but what was before.
    let counters = place.cache.counters();
    assert_eq!((counters.outcomes(), counters.get("records")), (1, 1));
}
