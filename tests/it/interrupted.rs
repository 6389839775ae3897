//! rustc, its linker, ibid or all of a cargo build, stopped by a signal in the middle of it: as without ibid, nothing is
//! kept of it, and the next build is right.
//!
//! Where a file `wait` is, the macro or the linker says by a file `began` which process rustc is, and waits.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::cargo::Workspace;
use crate::project::Project;
use crate::rustc::{SHOWS_MACRO, Scene};
use crate::tools;

/// Rust that waits, in a directory `dir`.
const WAITS: &str = "if dir.join(\"wait\").exists() { \
    std::fs::write(dir.join(\"new\"), std::process::id().to_string()).unwrap(); \
    std::fs::rename(dir.join(\"new\"), dir.join(\"began\")).unwrap(); \
    while dir.join(\"wait\").exists() { std::thread::sleep(std::time::Duration::from_millis(10)); } }";

/// A linker that leaves half an output. What names its parent is in a file that it reads only if it waits: a script that
/// names it is not stored.
const LINKER: &str = "#!/bin/sh\nif [ -e wait ]; then . ./waits; fi\nexec cc \"$@\"\n";
const LINKER_WAITS: &str = "printf half > a; echo $PPID > new; mv new began; \
    while [ -e wait ]; do sleep 0.01; done\n";

#[derive(Debug, Clone, Copy)]
enum Target {
    /// rustc alone.
    Rustc,
    /// The process that was started alone: ibid, where it is there.
    Started,
    /// All.
    Group,
}

const KILLS: &[(Target, Signal)] = &[
    (Target::Rustc, Signal::KILL),
    (Target::Rustc, Signal::TERM),
    (Target::Group, Signal::TERM),
    (Target::Group, Signal::INT),
    (Target::Group, Signal::KILL),
    (Target::Started, Signal::TERM),
];

fn in_macro() -> Option<Scene> {
    let body = format!("let dir = std::path::Path::new(\"\"); {WAITS} \"one\".to_owned()");
    let scene = Scene::with_macro(&body, SHOWS_MACRO)?;
    Some(with(scene, "--emit=dep-info,metadata,link"))
}

fn in_linker() -> Option<Scene> {
    let scene = Scene::new("fn main() {}\n", "-C linker=./linker")?;
    scene.project.write_program("linker", LINKER);
    scene.project.write("waits", LINKER_WAITS);
    Some(with(scene, "--emit=dep-info,link"))
}

fn with(mut scene: Scene, arg: &str) -> Scene {
    scene.args.insert(0, arg.to_owned());
    scene
}

/// Whether a process is at work in the project; of a zombie it is not known where it was.
fn is_busy(project: &Project) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut places = processes.filter_map(|it| std::fs::read_link(it.path().join("cwd")).ok());
    places.any(|place| place.starts_with(project.path()))
}

fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

/// Starts what will wait, in a process group of its own; gives it and rustc's number when it has begun.
pub fn begin(project: &Project, below: &str, mut command: Command) -> (Child, Pid) {
    let began = format!("{below}began");
    project.write(&format!("{below}wait"), "");
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    while !project.at(&began).exists() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before it began to wait");
        pause();
    }
    let number = String::from_utf8(project.read(&began)).unwrap();
    project.remove(&began);
    (child, Pid::from_raw(number.trim().parse().unwrap()).unwrap())
}

fn send(child: &Child, rustc: Pid, target: Target, signal: Signal) {
    let started = Pid::from_child(child);
    match target {
        Target::Rustc => kill_process(rustc, signal).unwrap(),
        Target::Started => kill_process(started, signal).unwrap(),
        Target::Group => kill_process_group(started, signal).unwrap(),
    }
}

/// How it ended; no process of it is left.
pub fn end(project: &Project, mut child: Child) -> ExitStatus {
    let status = child.wait().unwrap();
    for wait in ["wait", "low/wait"].map(|name| project.at(name)) {
        let _ = std::fs::remove_file(wait);
    }
    while is_busy(project) {
        pause();
    }
    status
}

fn stopped(scene: &Scene, program: Option<&str>, target: Target, signal: Signal) -> ExitStatus {
    let words = program.into_iter().chain([scene.tool.as_str()]);
    let words: Vec<&str> = words.chain(scene.args.iter().map(String::as_str)).collect();
    let mut command = scene.cache.command(words[0]);
    command.args(&words[1..]).current_dir(scene.project.path());
    let (child, rustc) = begin(&scene.project, "", command);
    send(&child, rustc, target, signal);
    end(&scene.project, child)
}

/// A miss under the second observer, and one of a tool that is trusted already.
fn known_or_not(make: fn() -> Option<Scene>) -> Vec<Scene> {
    let known = make().inspect(|scene| {
        scene.project.write("other.rs", "pub fn other() {}\n");
        let mut other = scene.cache.ibid([&scene.tool, "--crate-type", "lib", "other.rs"]);
        assert!(other.current_dir(scene.project.path()).status().unwrap().success());
    });
    make().into_iter().chain(known).collect()
}

fn ibid() -> Option<&'static str> {
    tools::ibid().to_str()
}

/// The next results are the bare rustc's, and come to be hits. A build is not kept that removes what a stopped rustc has left
/// behind, nor one that runs a program which no observer has watched yet.
fn is_right_afterwards(scene: &Scene) {
    let first = scene.call().check();
    assert!(first.outcome.is_miss(), "{first:?}");
    let is_hit = |_| scene.call().check().outcome.is_hit();
    assert!((0..4).any(is_hit), "it is never stored");
}

#[test]
fn rustc_is_stopped_as_without_ibid() {
    for scene in known_or_not(in_macro).into_iter().chain(known_or_not(in_linker)) {
        for (target, signal) in KILLS {
            let bare = stopped(&scene, None, *target, *signal);
            let mut ours = None;
            let counted =
                scene.cache.count(|| ours = Some(stopped(&scene, ibid(), *target, *signal)));
            let ours = ours.unwrap();
            let what = format!("{:?} {target:?} {signal:?}", scene.args);
            assert_eq!((ours.code(), ours.signal()), (bare.code(), bare.signal()), "{what}");
            assert_eq!((counted.get("stored"), counted.hits()), (0, 0), "{what}: {counted:?}");
        }
        is_right_afterwards(&scene);
    }
}

#[test]
fn ibid_is_killed_while_rustc_runs() {
    for scene in known_or_not(in_macro).into_iter().chain(known_or_not(in_linker)) {
        for _ in 0..2 {
            let stored = scene.cache.counters().get("stored");
            let status = stopped(&scene, ibid(), Target::Started, Signal::KILL);
            assert_eq!(status.signal(), Some(9));
            assert_eq!(scene.cache.counters().get("stored"), stored);
        }
        is_right_afterwards(&scene);
        scene.cache.say(&["verify"]);
    }
}

/// A workspace whose macro waits in the crate `low`.
pub fn waiting() -> Option<Workspace> {
    let work = Workspace::new()?;
    let source = String::from_utf8(work.project.read("mac/src/lib.rs")).unwrap();
    let waits = format!("let dir = std::path::PathBuf::from(dir); {WAITS} let text =");
    work.project.write("mac/src/lib.rs", source.replacen("let text =", &waits, 1));
    Some(work)
}

#[test]
fn cargo_goes_on_after_a_build_that_was_stopped() {
    let Some(work) = waiting() else { return };
    for (target, signal) in KILLS {
        let mut build = work.command("cargo build");
        build.env("RUSTC_WRAPPER", tools::ibid());
        let (child, rustc) = begin(&work.project, "low/", build);
        send(&child, rustc, *target, *signal);
        let status = end(&work.project, child);
        assert!(!status.success(), "{target:?} {signal:?}: {status}");
        work.run("cargo build");
        assert_eq!(work.run_bare("target/debug/app").stdout, "hello 8 7 yes\n");
        work.project.remove("target");
        work.run("cargo build").is_all_hits();
        assert_eq!(work.run_bare("target/debug/app").stdout, "hello 8 7 yes\n");
        // A hit would not wait.
        work.cache.say(&["clear"]);
        work.project.remove("target");
    }
}
