//! Hits that a signal ends in the middle: no file that is neither the old one nor the new one stands under an output's name.
//!
//! The moment is left to chance: the outputs are so large that most signals come while they are written.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::cache::Cache;
use crate::project::Project;
use crate::random::Random;
use crate::rustc;
use crate::tools;

/// An object of 20 MB.
const SOURCE: &str = "char big[20 << 20] = { 1 };\n";
const RUST_SOURCE: &str = "pub static BIG: [u8; 20 << 20] = [1; 20 << 20];\n";
const OLD: &[u8] = b"old";

const SIGNALS: &[Signal] = &[
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::ALARM,
    Signal::XCPU,
    Signal::PIPE,
];

struct Scene {
    cache: Cache,
    project: Project,
    line: &'static str,
    output: &'static str,
    whole: Vec<u8>,
}

impl Scene {
    /// With a result in the cache.
    fn new(line: &'static str, output: &'static str) -> Option<Scene> {
        let tool = line.split_whitespace().next().unwrap();
        if !tools::have(tool) {
            return None;
        }
        let (cache, project) = (rustc::cache(), Project::new());
        project.write("a.c", SOURCE);
        project.write("a.rs", RUST_SOURCE);
        let call = || project.call(&cache, line);
        call().check().expect_miss();
        call().check().expect_hit();
        let whole = project.read(output);
        Some(Scene { cache, project, line, output, whole })
    }

    /// Runs it with a signal after a while.
    fn stopped(&self, signal: Signal, after: Duration, to_all: bool) -> ExitStatus {
        let mut command = self.cache.ibid(self.line.split_whitespace());
        command.current_dir(self.project.path()).process_group(0);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(after);
        let pid = Pid::from_child(&child);
        let _ = if to_all { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
        child.wait().unwrap()
    }

    /// Whether what stands there is nothing, the old file or the whole new one; whether it is the new one.
    fn look(&self, is_old_there: bool, what: &str) -> bool {
        let Ok(now) = std::fs::read(self.project.at(self.output)) else { return false };
        let is_whole = now == self.whole;
        assert!(is_whole || is_old_there && now == OLD, "{} bytes are left: {what}", now.len());
        is_whole
    }

    fn interrupt(&self, random: &mut Random, signals: &[Signal], tries: u64) {
        for at in 0..tries {
            let is_old_there = at % 2 == 1;
            let _ = std::fs::remove_file(self.project.at(self.output));
            if is_old_there {
                self.project.write(self.output, OLD);
            }
            let signal = signals[usize::try_from(at).unwrap() % signals.len()];
            let after = below(random, 40_000);
            let status = self.stopped(signal, after, at % 4 < 2);
            let what = format!("{} {signal:?} {after:?} {status}", self.line);
            let is_whole = self.look(is_old_there, &what);
            match (status.code(), status.signal()) {
                (Some(0), None) => assert!(is_whole, "{what}"),
                (None, Some(number)) => assert_eq!(number, signal.as_raw(), "{what}"),
                _ => panic!("{what}"),
            }
        }
    }
}

fn below(random: &mut Random, micros: u64) -> Duration {
    Duration::from_micros(random.next() % micros)
}

const LINES: &[(&str, &str)] = &[
    ("gcc -c a.c -o a.o", "a.o"),
    ("clang -c a.c -o a.o", "a.o"),
    ("rustc --crate-type lib --emit=obj a.rs", "a.o"),
    ("rustc --crate-type lib a.rs", "liba.rlib"),
];

#[test]
fn a_signal_in_the_middle() {
    let mut random = Random::new(1);
    for (line, output) in LINES {
        let Some(scene) = Scene::new(line, output) else { continue };
        scene.interrupt(&mut random, SIGNALS, 24);
        scene.project.call(&scene.cache, line).check().expect_hit();
    }
}

/// The same where libc has started: what is set leaves the look-up to it.
#[test]
fn a_signal_in_a_hit_after_libc() {
    let mut random = Random::new(2);
    for (line, output) in LINES {
        let Some(mut scene) = Scene::new(line, output) else { continue };
        let log = scene.cache.root().join("log");
        scene.cache.set("IBID_LOG", log);
        scene.interrupt(&mut random, SIGNALS, 16);
    }
}

/// Of tools that give an output its name when it is whole, not even SIGKILL leaves a part.
#[test]
fn killed_in_the_middle() {
    let mut random = Random::new(3);
    for (line, output) in [LINES[1], LINES[3]] {
        let Some(scene) = Scene::new(line, output) else { continue };
        scene.interrupt(&mut random, &[Signal::KILL], 16);
    }
}

/// A recipe that goes on whatever the compiler's status is.
#[test]
fn make_goes_on_with_a_whole_object() {
    if !tools::have("make") {
        return;
    }
    let Some(scene) = Scene::new("gcc -c a.c -o a.o", "a.o") else { return };
    scene.project.write("Makefile", "a.o: a.c\n\tcd . && $(CC) -c a.c -o a.o && :\n");
    let cc = format!("CC={} gcc", tools::ibid().display());
    let mut random = Random::new(4);
    for _ in 0..8 {
        let _ = std::fs::remove_file(scene.project.at("a.o"));
        let mut make = scene.cache.command("make");
        make.arg(&cc).current_dir(scene.project.path()).process_group(0);
        let mut child = make.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(below(&mut random, 60_000));
        let _ = kill_process_group(Pid::from_child(&child), Signal::INT);
        child.wait().unwrap();
        let mut again = scene.cache.command("make");
        let done = again.arg(&cc).current_dir(scene.project.path()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        assert!(scene.look(false, "make"));
    }
}
