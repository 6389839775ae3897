//! `ibid install --cargo`, `ibid install --cmake` and the way back: what is asked, written and left alone.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use crate::cache::Cache;
use crate::project::Project;
use crate::tools;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs it with an answer on standard input.
fn answered(cache: &Cache, args: &[&str], answer: &str) -> Output {
    let mut command = cache.ibid(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn cargo_file(cache: &Cache) -> PathBuf {
    cache.root().join("home/.cargo/config.toml")
}

fn wrapper_line() -> String {
    format!("rustc-wrapper = \"{}\"\n", tools::ibid().display())
}

#[test]
fn cargo_after_asking() {
    let cache = Cache::new();
    for answer in ["", "\n", "n\n", "no\n", "nonsense\n"] {
        let done = answered(&cache, &["install", "--cargo"], answer);
        assert_eq!(done.status.code(), Some(1), "{answer:?}");
        let said = text(&done.stdout);
        assert!(said.starts_with("Write `rustc-wrapper = ") && said.contains("[y/N]"), "{said}");
        assert!(said.ends_with("nothing is changed\n"), "{said}");
        assert!(!cargo_file(&cache).exists());
    }
    let done = answered(&cache, &["install", "--cargo"], "y\n");
    assert!(done.status.success(), "{done:?}");
    assert_eq!(
        fs::read_to_string(cargo_file(&cache)).unwrap(),
        format!("[build]\n{}", wrapper_line())
    );
    let said = text(&cache.ibid(["install", "--cargo"]).output().unwrap().stdout);
    assert!(said.contains("already") && !said.contains("[y/N]"), "{said}");

    let done = answered(&cache, &["uninstall", "--cargo"], "n\n");
    assert_eq!(done.status.code(), Some(1));
    assert!(fs::read_to_string(cargo_file(&cache)).unwrap().contains(&wrapper_line()));
    let done = answered(&cache, &["uninstall", "--cargo"], "yes\n");
    assert!(done.status.success(), "{done:?}");
    assert!(!fs::read_to_string(cargo_file(&cache)).unwrap().contains("rustc-wrapper"));
    assert!(cache.say(&["uninstall", "--cargo"]).starts_with("nothing to remove"));
}

/// Comments, order and other keys stay; another wrapper is named before it is replaced, and not removed.
#[test]
fn what_is_in_cargo_s_file_stays() {
    let cache = Cache::new();
    let file = cargo_file(&cache);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let before =
        "# mine\n[net]\noffline = true # yes\n\n[build]\njobs = 3\nrustc-wrapper = \"sccache\"\n";
    fs::write(&file, before).unwrap();
    assert!(cache.say(&["uninstall", "--cargo", "--yes"]).starts_with("nothing to remove"));
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    let done = answered(&cache, &["install", "--cargo"], "n\n");
    assert!(text(&done.stdout).contains("instead of `sccache`"), "{done:?}");
    cache.say(&["install", "--cargo", "--yes"]);
    let after = before.replace("rustc-wrapper = \"sccache\"\n", &wrapper_line());
    assert_eq!(fs::read_to_string(&file).unwrap(), after);
    // The name that cargo reads first.
    fs::write(file.with_extension(""), "").unwrap();
    cache.say(&["install", "--cargo", "--yes"]);
    assert!(fs::read_to_string(file.with_extension("")).unwrap().contains(&wrapper_line()));
    assert_eq!(fs::read_to_string(&file).unwrap(), after);
    // Another home of cargo's, and a variable that wins.
    let home = cache.root().join("other");
    let cache = cache.with("CARGO_HOME", home.clone()).with("RUSTC_WRAPPER", "sccache");
    let said = cache.say(&["install", "--cargo", "--yes"]);
    assert!(said.contains("RUSTC_WRAPPER is `sccache`, and wins"), "{said}");
    assert!(home.join("config.toml").exists());
}

#[test]
fn what_cannot_be_written() {
    let cache = Cache::new();
    let file = cargo_file(&cache);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    for (content, why) in [("[build\n", "line 1"), ("build = 3\n", "`build` is no table")] {
        fs::write(&file, content).unwrap();
        let done = answered(&cache, &["install", "--cargo", "--yes"], "");
        let said = text(&done.stderr);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(file.to_str().unwrap()) && said.contains(why), "{said}");
        assert_eq!(done.status.code(), Some(2));
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
    for args in [
        &["install", "--cargo", "dir"][..],
        &["install", "--cargo", "--cmake"],
        &["install", "--yes"],
        &["install", "--cmake", "dir"],
        &["uninstall", "--cmake"],
    ] {
        assert_eq!(cache.ibid(args).output().unwrap().status.code(), Some(2), "{args:?}");
    }
    let mut cache = cache;
    cache.unset("HOME");
    let done = cache.ibid(["install", "--cargo", "--yes"]).output().unwrap();
    assert_eq!(text(&done.stderr).lines().count(), 1, "{done:?}");
    assert_eq!(done.status.code(), Some(2));
}

/// cargo takes what was written.
#[test]
fn cargo_runs_ibid_then() {
    if !["cargo", "rustc"].into_iter().all(tools::have) {
        return;
    }
    let cache = crate::rustc::cache();
    let home = cache.root().join("cargo");
    let cache = cache.with("CARGO_HOME", home);
    cache.say(&["install", "--cargo", "--yes"]);
    let project = Project::with(&[
        ("Cargo.toml", "[package]\nname = \"one\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
        ("src/lib.rs", "pub fn one() -> u32 { 1 }\n"),
    ]);
    let counters = cache.count(|| drop(project.shell(&cache, "cargo build -q --offline")));
    assert!(counters.get("misses") >= 1, "{counters:?}");
    project.remove("target");
    let counters = cache.count(|| drop(project.shell(&cache, "cargo build -q --offline")));
    assert!(counters.hits() >= 1, "{counters:?}");
}

/// cmake takes what is printed.
#[test]
fn a_preset_for_cmake() {
    let cache = Cache::new();
    let said = cache.say(&["install", "--cmake"]);
    let presets: serde_json::Value = serde_json::from_str(&said).unwrap();
    let variables = &presets["configurePresets"][0]["cacheVariables"];
    for name in ["CMAKE_C_COMPILER_LAUNCHER", "CMAKE_CXX_COMPILER_LAUNCHER"] {
        assert_eq!(variables[name].as_str(), tools::ibid().to_str());
    }
    if !["cmake", "make", "gcc"].into_iter().all(tools::have) {
        return;
    }
    let project = Project::with(&[
        (
            "CMakeLists.txt",
            "cmake_minimum_required(VERSION 3.13)\nproject(p C)\nadd_library(p a.c)\n",
        ),
        ("a.c", "int a(void) { return 1; }\n"),
        ("CMakeUserPresets.json", &said),
    ]);
    project.shell(&cache, "cmake --preset ibid");
    let counters = cache.count(|| drop(project.shell(&cache, "cmake --build build")));
    assert!(counters.get("misses") > 0, "{counters:?}");
}
