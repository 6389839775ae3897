//! Failing runs of rustc that repeat themselves, and builds that meet failing runs: cargo, make, ninja, configure.

use std::path::Path;

use crate::cache::{Cache, Outcome};
use crate::failures::repeats;
use crate::failures_refused::never_repeats;
use crate::project::Project;
use crate::rustc::{self, toolchain};
use crate::tools::{self, C};

#[test]
fn rust() {
    let sources = [
        "fn main() { let a: u32 = \"a\"; }\n",
        "mod missing;\nfn main() {}\n",
        "#![deny(warnings)]\npub fn f() { let unused = 1; }\nfn main() {}\n",
        "compile_error!(\"no\");\nfn main() { let a = nothing; }\n",
        "const A: usize = [1][1];\nconst B: &str = include_str!(\"missing.txt\");\nfn main() {}\n",
    ];
    let lines = [
        "",
        "--crate-type lib --emit=dep-info,metadata",
        "--emit=dep-info,link --error-format=json --json=diagnostic-rendered-ansi,artifacts",
        "--error-format=short",
        "--color always --emit=dep-info,link",
    ];
    for source in sources {
        for line in lines {
            let Some(scene) = rustc::Scene::new(source, line) else { return };
            repeats(&scene.call());
        }
    }
}

#[test]
fn rust_mended_and_a_module_that_appears() {
    let Some(scene) = rustc::Scene::new("mod b;\npub fn f() {}\n", "--crate-type lib") else {
        return;
    };
    repeats(&scene.call());
    scene.project.write("b.rs", "pub fn g() {}\n");
    scene.call().check().expect(&Outcome::Miss);
    scene.project.write("b.rs", "pub fn g() { nothing }\n");
    repeats(&scene.call());
    scene.project.write("b.rs", "pub fn g() {}\n");
    scene.call().check().expect_hit();
    scene.project.remove("b.rs");
    // A library that is there now was not there before.
    scene.call().check();
    scene.call().check().expect(&Outcome::FailureHit);
}

/// A crate that rustc looks for in a directory whose listing is no input.
#[test]
fn a_crate_that_appears() {
    let Some(bin) = toolchain() else { return };
    let tool = bin.join("rustc").display().to_string();
    let line = "--crate-type lib --extern low=liblow.rlib -L dependency=deps -L deps";
    let Some(scene) = rustc::Scene::new("pub use low::f; extern crate other;\n", line) else {
        return;
    };
    scene.project.write("base.rs", "pub struct B;\n");
    scene.project.write("low.rs", "pub fn f() -> base::B { base::B }\n");
    scene.project.mkdir("deps");
    let shell = |line: &str| scene.project.shell(&scene.cache, &line.replace("RUSTC", &tool));
    shell("RUSTC --edition 2021 --crate-type lib base.rs --out-dir deps");
    shell("RUSTC --edition 2021 --crate-type lib low.rs --extern base=deps/libbase.rlib");
    shell("mv deps/libbase.rlib kept");
    for _ in 0..3 {
        scene.call().check();
    }
    shell("mv kept deps/libbase.rlib");
    for _ in 0..3 {
        scene.call().check();
    }
    scene.project.write("other.rs", "pub fn o() {}\n");
    shell("RUSTC --edition 2021 --crate-type lib other.rs --out-dir deps");
    assert_eq!(scene.call().check().done.code, Some(0));
}

#[test]
fn macros_of_rust() {
    let fails = "format!(\"compile_error! {}\", 1)";
    let Some(scene) = rustc::Scene::with_macro(fails, "pub fn f() -> u8 { m::it!() }\n") else {
        return;
    };
    repeats(&scene.call());
    let Some(scene) =
        rustc::Scene::with_macro("panic!(\"no\")", "pub fn f() -> &'static str { m::it!() }\n")
    else {
        return;
    };
    never_repeats(&scene.call());
    let reads = "std::fs::read_to_string(\"text\").unwrap_or_default()";
    let Some(scene) = rustc::Scene::with_macro(reads, "pub fn f() -> u8 { m::it!() }\n") else {
        return;
    };
    repeats(&scene.call());
    scene.project.write("text", "other");
    repeats(&scene.call());
}

/// cargo checks a package thrice, mends it, and breaks it again; beside it the same without ibid.
#[test]
fn cargo_goes_on() {
    if !tools::have("cargo") || toolchain().is_none() {
        return;
    }
    let cache = rustc::cache().with("CARGO_NET_OFFLINE", "true").with("CARGO_TERM_COLOR", "never");
    let manifest = "[package]\nname = \"p\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
    let project =
        Project::with(&[("Cargo.toml", manifest), ("src/lib.rs", "pub fn f() -> u8 { \"a\" }\n")]);
    let run = |target: &str, line: &str, wrapper: Option<&Path>| {
        let mut command = cache.command("cargo");
        command.args(line.split(' ')).current_dir(project.path());
        command.env("CARGO_TARGET_DIR", project.at(target));
        command.envs(wrapper.map(|wrapper| ("RUSTC_WRAPPER", wrapper)));
        let done = command.output().unwrap();
        let text = String::from_utf8(done.stderr).unwrap();
        let lines = text.lines().filter(|line| !line.contains("Finished")).map(str::to_owned);
        (done.status.code(), done.stdout, lines.collect::<Vec<_>>())
    };
    for line in ["check", "build --message-format=json"] {
        let mut hits = Vec::new();
        for text in [
            None,
            None,
            None,
            Some("pub fn f() -> u8 { 1 }\n"),
            Some("pub fn f() -> u8 { \"a\" }\n"),
            None,
        ] {
            if let Some(text) = text {
                project.write("src/lib.rs", text);
            }
            let mut ours = None;
            let counted = cache.count(|| ours = Some(run("ours", line, Some(tools::ibid()))));
            let theirs = run("bare", line, None);
            let ours = ours.unwrap();
            assert_eq!((ours.0, &ours.2), (theirs.0, &theirs.2), "{line}");
            assert_eq!(ours.1.len(), theirs.1.len(), "{line}");
            hits.push(counted.get("failure_hits") > 0);
        }
        // An artifact that is there now was not there before.
        assert_eq!(hits, [false, false, true, false, false, true], "{line}");
    }
}

/// A build tool finds the same to do next: a failing unit is built again until it is mended.
#[test]
fn make_and_ninja_go_on() {
    let ours = |line: &str| line.replace("CC", &format!("{} gcc", tools::ibid().display()));
    let files = [
        ("a.c", "int a = nothing;\n"),
        ("b.c", "int b;\n"),
        ("Makefile", "all: a.o b.o\n%.o: %.c\n\t$(COMPILER) -MD -c $< -o $@\n-include a.d b.d\n"),
        (
            "build.ninja",
            "rule cc\n  command = $COMPILER -MD -MF $out.d -c $in -o $out\n  depfile = $out.d\n\
             build a.o: cc a.c\nbuild b.o: cc b.c\n",
        ),
    ];
    for (tool, line) in [("make", "make -k COMPILER='CC'"), ("ninja", "ninja -j1 -k 0 -v")] {
        if !tools::have(tool) {
            return;
        }
        let (cache, bare, project) = (Cache::new(), Project::with(&files), Project::with(&files));
        let with = |project: &Project, compiler: &str| {
            let ninja = String::from_utf8(project.read("build.ninja")).unwrap();
            project.write("build.ninja", ninja.replace("$COMPILER", compiler));
        };
        with(&bare, "gcc");
        with(&project, &ours("CC"));
        let run = |project: &Project, line: &str| {
            let done = cache.command("sh").args(["-c", line]).current_dir(project.path()).output();
            let done = done.unwrap();
            let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
            let shown = text.replace(&ours("CC"), "gcc").replace(" (core dumped)", "");
            let mut lines: Vec<String> = shown.lines().map(str::to_owned).collect();
            lines.sort();
            let entries = std::fs::read_dir(project.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            (done.status.code(), lines, names)
        };
        let check = |step: &str| {
            let counted = cache.count(|| {
                assert_eq!(
                    run(&project, &ours(line)),
                    run(&bare, &line.replace("CC", "gcc")),
                    "{tool}: {step}"
                );
            });
            counted.get("failure_hits")
        };
        let wait = || std::thread::sleep(std::time::Duration::from_millis(1100));
        wait();
        let hits = ["first", "second", "third", "fourth"].map(&check);
        // The second may be watched by fewer observers, which see other conditions.
        assert_eq!([hits[0], hits[1], hits[3]], [0, 0, 1], "{tool}");
        let both = |text: &str| {
            wait();
            project.write("a.c", text);
            bare.write("a.c", text);
        };
        both("int a;\n");
        assert_eq!([check("mended"), check("nothing to do")], [0, 0], "{tool}");
        assert!(project.at("a.o").exists());
        both("int a = nothing;\n");
        // An object that is there now was not there before.
        assert_eq!([check("broken"), check("again")], [0, 1], "{tool}");
    }
}

/// What `configure` does: one name, several contents, half of which fail; several times.
#[test]
fn probes_of_a_configure_script() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::new());
        let mut hits = Vec::new();
        for _ in 0..4 {
            let counted = cache.count(|| {
                for number in 0..6 {
                    let missing = if number % 2 == 0 { "no_such" } else { "stdio" };
                    let text = format!(
                        "/* confdefs.h */\n#include <{missing}.h>\nint main(void) {{ return {number}; }}\n"
                    );
                    project.shell(&cache, "rm -f conftest.o conftest.c");
                    project.write("conftest.c", text);
                    // Until the clock has ticked a source is too young.
                    std::thread::sleep(std::time::Duration::from_millis(60));
                    let done = cache.ibid([tool, "-c", "-g", "-O2", "conftest.c"]);
                    let status = { done }.current_dir(project.path()).output().unwrap().status;
                    assert_eq!(status.success(), number % 2 == 1);
                    assert_eq!(project.at("conftest.o").exists(), number % 2 == 1);
                }
            });
            hits.push(counted.get("failure_hits"));
        }
        assert_eq!([hits[0], hits[1], hits[3]], [0, 0, 3], "{tool}: {hits:?}");
    }
}
