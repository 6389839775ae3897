//! Two processes that make the same at the same time: one runs the tool, the other waits for it; and what ends a wait.
//!
//! The first one's compiler is stopped while the other one begins, so that both are sure to run at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::cache::{Counters, Outcome};
use crate::several_places::{PLACES, Scene};
use crate::tools;

const WAITS: &str = "waits for it";
const DONE: &str = "waits no more: it is done";

/// Files of which one takes a compiler some time, and one whose comparison lets the others of its kind serve other places.
fn files(last: &str) -> Vec<(&'static str, String)> {
    let function = |n| format!("int f{n}(int x, int y) {{ return x * {n} + y / (x + {n}); }}\n");
    let functions: Vec<String> = (0..1500).map(function).collect();
    vec![("small.c", "int small;\n".into()), ("large.c", functions.concat() + last)]
}

struct Pair {
    scene: Scene,
    tool: &'static str,
}

/// A process whose compiler is stopped.
struct Held {
    ibid: Child,
    tool: Pid,
    log: PathBuf,
}

impl Pair {
    fn new(tool: &'static str, last: &str) -> Pair {
        let files = files(last);
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let pair = Pair { scene: Scene::new(&files), tool };
        for place in PLACES {
            pair.scene.call(place, &format!("{tool} -O1 -c small.c -o small.o")).check();
        }
        pair
    }

    fn begin(&self, place: &str, object: &str) -> (Child, PathBuf) {
        let log = self.scene.cache.root().join(format!("log-{}-{object}", place.replace('/', "-")));
        let here = self.scene.at(place);
        let mut command = self.scene.cache.ibid([self.tool, "-O1", "-c", "large.c", "-o", object]);
        let command = command.current_dir(&here).env("PWD", &here).env("IBID_LOG", &log);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        (child, log)
    }

    /// Begins in a place, and stops the compiler when it runs.
    fn hold(&self, place: &str, object: &str) -> Held {
        let (ibid, log) = self.begin(place, object);
        let tool = loop {
            if let Some(tool) = child_of(ibid.id(), self.tool) {
                break tool;
            }
            sleep(Duration::from_millis(1));
        };
        kill_process(tool, Signal::STOP).unwrap();
        Held { ibid, tool, log }
    }

    /// One that is held in a place, and another one that waits for it.
    fn hold_up(&self, held: &str, other: (&str, &str)) -> (Held, (Child, PathBuf)) {
        let held = self.hold(held, "a.o");
        let other = self.begin(other.0, other.1);
        wait_for_line(&other.1, WAITS);
        (held, other)
    }

    /// What the compiler gives in a place without us.
    fn is_as_bare(&self, place: &str, object: &str) {
        let here = self.scene.at(place);
        let mut bare = self.scene.cache.command(self.tool);
        let bare = bare.args(["-O1", "-c", "large.c", "-o", "bare.o"]).current_dir(&here);
        assert!(bare.status().unwrap().success());
        let of = |name: &str| fs::read(here.join(name)).unwrap();
        assert!(of(object) == of("bare.o"), "{object} in {place}");
    }
}

impl Held {
    fn go_on(&self) {
        kill_process(self.tool, Signal::CONT).unwrap();
    }

    fn end(mut self) -> String {
        assert!(self.ibid.wait().unwrap().success());
        fs::read_to_string(&self.log).unwrap()
    }
}

/// The compiler that a process runs, as soon as it is more than a copy of that process.
fn child_of(parent: u32, tool: &str) -> Option<Pid> {
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
        let arg0 = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arg0 = arg0.split(|byte| *byte == 0).next().unwrap_or_default();
        after.split(' ').nth(1) == Some(&parent.to_string())
            && Path::new(std::str::from_utf8(arg0).unwrap()).file_name() == Some(tool.as_ref())
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pid = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_child)?;
    Pid::from_raw(pid.cast_signed())
}

/// Fails after many minutes, for a line that never comes.
fn wait_for_line(log: &Path, line: &str) {
    let is_there = || fs::read_to_string(log).is_ok_and(|text| text.contains(line));
    for _ in 0..600_000 {
        if is_there() {
            return;
        }
        sleep(Duration::from_millis(1));
    }
    panic!("no \"{line}\" in {}", log.display());
}

fn end(child: Child, log: &Path) -> String {
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    fs::read_to_string(log).unwrap()
}

fn outcomes(counted: &Counters) -> [u64; 2] {
    [counted.hits(), counted.get("misses")]
}

#[test]
fn another_checkout_waits_and_is_served() {
    for tool in tools::present(&["gcc", "clang"]) {
        let pair = Pair::new(tool, "");
        let counted = pair.scene.cache.count(|| {
            let held = pair.hold(PLACES[0], "a.o");
            let others = [pair.begin(PLACES[1], "a.o"), pair.begin(PLACES[2], "other.o")];
            for (_, log) in &others {
                wait_for_line(log, WAITS);
            }
            held.go_on();
            for (child, log) in others {
                let text = end(child, &log);
                assert!(text.contains(DONE) && text.contains("content hit"), "{text}");
            }
            let text = held.end();
            assert!(text.contains("miss, stored"), "{text}");
        });
        assert_eq!(outcomes(&counted), [2, 1], "{counted:?}");
        pair.is_as_bare(PLACES[1], "a.o");
        pair.is_as_bare(PLACES[2], "other.o");
    }
}

/// The first result of another checkout is compared with the compiler's: by one process, and the others wait for that.
#[test]
fn one_compares_for_all() {
    let files = files("");
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let pair = Pair { scene: Scene::new(&files), tool: "gcc" };
    pair.scene.call(PLACES[0], "gcc -O1 -c large.c -o a.o").check();
    let counted = pair.scene.cache.count(|| {
        let (held, (child, log)) = pair.hold_up(PLACES[1], (PLACES[2], "other.o"));
        held.go_on();
        let text = end(child, &log);
        // It may be drawn by lot, and be compared for that.
        assert!(text.contains(DONE) && text.contains("content hit"), "{text}");
        let text = held.end();
        assert!(text.contains("content hit, compared"), "{text}");
    });
    assert_eq!(outcomes(&counted), [2, 0], "{counted:?}");
    pair.is_as_bare(PLACES[2], "other.o");
}

#[test]
fn nobody_waits_for_one_that_is_killed() {
    let pair = Pair::new("gcc", "");
    let counted = pair.scene.cache.count(|| {
        let (mut held, (child, log)) = pair.hold_up(PLACES[0], (PLACES[1], "a.o"));
        held.ibid.kill().unwrap();
        let text = end(child, &log);
        assert!(text.contains(DONE) && text.contains("miss, stored"), "{text}");
        held.go_on();
        assert!(!held.ibid.wait().unwrap().success());
    });
    assert_eq!(outcomes(&counted), [0, 1], "{counted:?}");
    pair.is_as_bare(PLACES[1], "a.o");
}

#[test]
fn nobody_waits_for_one_that_is_stopped() {
    let pair = Pair::new("gcc", "");
    let counted = pair.scene.cache.count(|| {
        let held = pair.hold(PLACES[0], "a.o");
        let ibid = Pid::from_child(&held.ibid);
        kill_process(ibid, Signal::STOP).unwrap();
        let (child, log) = pair.begin(PLACES[1], "a.o");
        let text = end(child, &log);
        assert!(text.contains("it is stopped") && text.contains("miss, stored"), "{text}");
        kill_process(ibid, Signal::CONT).unwrap();
        held.go_on();
        let _ = held.end();
    });
    assert_eq!(outcomes(&counted), [0, 2], "{counted:?}");
    pair.is_as_bare(PLACES[0], "a.o");
    pair.is_as_bare(PLACES[1], "a.o");
}

/// What the other one makes does not serve here: its header is another one, or it is not stored.
#[test]
fn a_wait_in_vain() {
    for last in ["#include \"where.h\"\n", "char t[] = __TIME__;\n"] {
        let pair = Pair::new("gcc", last);
        for (number, place) in PLACES.iter().enumerate() {
            pair.scene.project.write(&format!("{place}/where.h"), format!("int w = {number};\n"));
        }
        let counted = pair.scene.cache.count(|| {
            let (held, (child, log)) = pair.hold_up(PLACES[0], (PLACES[1], "a.o"));
            held.go_on();
            let text = end(child, &log);
            assert!(text.contains(DONE) && text.contains("miss, "), "{text}");
            let _ = held.end();
        });
        assert_eq!(outcomes(&counted), [0, 2], "{counted:?}");
        if last.contains("where") {
            pair.is_as_bare(PLACES[1], "a.o");
        }
    }
}

#[test]
fn a_source_that_is_edited_meanwhile() {
    let pair = Pair::new("gcc", "");
    let (held, (child, log)) = pair.hold_up(PLACES[0], (PLACES[1], "a.o"));
    pair.scene.project.write(&format!("{}/large.c", PLACES[1]), "int edited;\n");
    held.go_on();
    let text = end(child, &log);
    assert!(text.contains(DONE) && text.contains("miss, "), "{text}");
    let _ = held.end();
    pair.is_as_bare(PLACES[1], "a.o");
    pair.scene.call(PLACES[1], "gcc -O1 -c large.c -o a.o").check();
    let files = files("");
    pair.scene.project.write(&format!("{}/large.c", PLACES[1]), &files[1].1);
    pair.scene.expect_shared(PLACES[1], "gcc -O1 -c large.c -o a.o", false);
}

/// Two targets of one build that have the same source: the outputs have other names.
#[test]
fn one_directory() {
    let pair = Pair::new("gcc", "");
    let counted = pair.scene.cache.count(|| {
        let (held, (child, log)) = pair.hold_up(PLACES[0], (PLACES[0], "b.o"));
        held.go_on();
        end(child, &log);
        let _ = held.end();
    });
    assert_eq!(outcomes(&counted), [1, 1], "{counted:?}");
    pair.is_as_bare(PLACES[0], "b.o");
}

/// Who stores nothing cannot be waited for, and does not wait.
#[test]
fn readers_do_not_wait() {
    let pair = Pair::new("gcc", "");
    let held = pair.hold(PLACES[0], "a.o");
    let call = pair.scene.call(PLACES[1], "gcc -O1 -c large.c -o a.o").env("IBID_READONLY", "1");
    call.check().expect(&Outcome::NotStored("read_only".into()));
    held.go_on();
    let _ = held.end();
}
