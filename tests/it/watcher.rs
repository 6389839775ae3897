//! ibid is killed while it watches a tool: what is left of the tool ends, and no call of it fails for want of a watcher.
//!
//! A bare tool dies of SIGKILL, and what it has started goes on. So it is here: the tool dies with ibid.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cache::Cache;
use crate::project::Project;
use crate::random::Random;
use crate::rustc::toolchain;
use crate::tools;

/// Starts `calls` and waits for it.
const TOOL: &str = "#!/bin/sh\necho $$ > number; ./calls >out; echo\n";

/// Calls that are watched, one after the other, until `go` is there; then threads that end. What came of it stands in
/// `result`. `calls eat` takes memory until it is killed.
const CALLS: &str = r#"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void *end(void *it) { return it; }
int main(int argc, char **argv) {
    while (argc > 1) { char *more = malloc(1 << 20); if (more) memset(more, 1, 1 << 20); }
    int result = open("result", O_CREAT | O_WRONLY | O_EXCL, 0666);
    close(creat("began", 0666));
    while (access("go", F_OK))
        if (errno != ENOENT) { write(result, "failed", 6); kill(getpid(), 9); abort(); }
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        if (pthread_create(&thread, 0, end, 0)) abort();
        pthread_join(thread, 0);
    }
    write(result, "well", 4);
    return 0;
}
"#;

/// Processes that work in the project, but zombies.
fn busy(project: &Project) -> Vec<i32> {
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = numbers.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    let is_here = |number: &i32| {
        std::fs::read_link(format!("/proc/{number}/cwd"))
            .is_ok_and(|place| place.starts_with(project.path()))
    };
    numbers.filter(is_here).collect()
}

fn kill(number: i32) {
    let _ = kill_process(Pid::from_raw(number).unwrap(), Signal::KILL);
}

fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// How long something may go on before it is taken for endless, on the busiest machine.
const ENDLESS: Duration = Duration::from_mins(4);

/// Waits until it is so; if it never is, ends what is at work in the project.
fn wait_until(project: &Project, what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + ENDLESS;
    while !is_so() {
        if Instant::now() > end {
            let left = busy(project);
            let names = left.iter().map(|it| std::fs::read_to_string(format!("/proc/{it}/comm")));
            let names: Vec<_> = names.collect();
            left.into_iter().for_each(kill);
            panic!("{what}: never; at work: {names:?}");
        }
        pause();
    }
}

fn wait_for_end(project: &Project, what: &str) {
    wait_until(project, what, || busy(project).is_empty());
}

/// The attendant of a process, if it has one.
fn attendant(of: &Child) -> Option<i32> {
    let children = format!("/proc/{0}/task", of.id());
    let tasks = std::fs::read_dir(children).ok()?.flatten();
    let children = tasks.filter_map(|it| std::fs::read_to_string(it.path().join("children")).ok());
    let numbers: Vec<i32> = children
        .flat_map(|it| it.split_whitespace().map(|it| it.parse().unwrap()).collect::<Vec<_>>())
        .collect();
    let name = |number: i32| std::fs::read_to_string(format!("/proc/{number}/comm"));
    numbers.into_iter().find(|number| name(*number).is_ok_and(|name| name == "attendant\n"))
}

fn scene() -> (Cache, Project) {
    let project = Project::with(&[("calls.c", CALLS)]);
    project.write_program("tool", TOOL);
    let cache = Cache::new();
    project.shell(&cache, "gcc -pthread calls.c -o calls");
    (cache, project)
}

fn begin(project: &Project, mut command: Command) -> Child {
    for name in ["began", "go", "result", "number"] {
        let _ = std::fs::remove_file(project.at(name));
    }
    command.current_dir(project.path()).stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.stderr(Stdio::null()).spawn().unwrap();
    wait_until(project, "it begins", || project.at("began").exists());
    child
}

/// What the tool has started comes to its end, whatever its calls came to; the tool itself died.
fn ends_well(project: &Project, what: &str) {
    let number = String::from_utf8(project.read("number")).unwrap();
    let tool = PathBuf::from(format!("/proc/{}/cwd", number.trim()));
    let is_dead = || std::fs::read_link(&tool).is_err();
    wait_until(project, &format!("{what}: the tool dies"), is_dead);
    project.write("go", "");
    wait_for_end(project, what);
    assert_eq!(project.read("result"), b"well", "{what}");
}

fn ibid(cache: &Cache, observer: Option<&str>) -> Command {
    let mut command = cache.ibid(["exec", "--", "./tool"]);
    if let Some(observer) = observer {
        command.env("IBID_OBSERVER", observer);
    }
    command
}

/// At any moment: mostly between a call's arrival and its answer.
#[test]
fn what_a_tool_started_goes_on_without_a_watcher() {
    let (cache, project) = scene();
    let mut random = Random::new(Random::seed());
    for observer in [None, Some("seccomp")] {
        for round in 0..if tools::long() { 200 } else { 12 } {
            let mut child = begin(&project, ibid(&cache, observer));
            std::thread::sleep(Duration::from_micros(random.below(5000) as u64));
            child.kill().unwrap();
            child.wait().unwrap();
            ends_well(&project, &format!("{observer:?}, round {round}"));
        }
    }
}

#[test]
fn an_attendant_that_was_killed_has_a_successor() {
    let (cache, project) = scene();
    let mut child = begin(&project, ibid(&cache, None));
    if attendant(&child).is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
        project.write("go", "");
        wait_for_end(&project, "without a watch");
        assert!(!tools::is_root(), "root's tools are watched");
        return tools::skip("system calls cannot be watched here");
    }
    for _ in 0..3 {
        let first = attendant(&child).unwrap();
        kill(first);
        let has_another = || attendant(&child).is_some_and(|it| it != first);
        wait_until(&project, "another attendant", has_another);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    ends_well(&project, "the fourth attendant");
}

/// What a tool leaves behind, though it fails, goes on too.
#[test]
fn what_a_failing_tool_leaves_behind_goes_on() {
    let (cache, project) = scene();
    project.write_program(
        "tool",
        "#!/bin/sh\necho $$ > number; ./calls >out 2>&1 &\n\
         while [ ! -e began ]; do :; done; exit 3\n",
    );
    let mut child = begin(&project, ibid(&cache, None));
    assert_eq!(child.wait().unwrap().code(), Some(3));
    ends_well(&project, "left behind");
}

/// A memory cgroup (version 1) of this test's own.
struct Group(PathBuf);

impl Group {
    fn new(limit_bytes: u64) -> Option<Group> {
        let name = format!("/sys/fs/cgroup/memory/ibid-test-{}", std::process::id());
        let group = Group(PathBuf::from(name));
        let is_there = Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists()
            && std::fs::create_dir(&group.0).is_ok();
        if !is_there {
            tools::skip("there is no memory cgroup to be had");
            return None;
        }
        group.set("memory.limit_in_bytes", &limit_bytes.to_string());
        Some(group)
    }

    fn set(&self, name: &str, value: &str) {
        std::fs::write(self.0.join(name), value).unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Zombies of it may be there for a moment.
        while std::fs::remove_dir(&self.0)
            .is_err_and(|it| it.kind() == std::io::ErrorKind::ResourceBusy)
        {
            pause();
        }
    }
}

#[test]
fn the_killer_of_those_who_take_too_much_memory() {
    let Some(group) = Group::new(64 << 20) else { return };
    let (cache, project) = scene();
    let mut child = begin(&project, {
        let mut command = cache.command("/bin/sh");
        let line = "echo $$ > \"$1/cgroup.procs\"; shift; exec \"$@\"";
        let ibid = tools::ibid().to_str().unwrap();
        command.args(["-c", line, "sh", group.0.to_str().unwrap(), ibid, "exec", "--", "./tool"]);
        command
    });
    std::fs::write(format!("/proc/{}/oom_score_adj", child.id()), "1000").unwrap();
    let mut eater = Command::new(project.at("calls"));
    let mut eater = eater.arg("eat").spawn().unwrap();
    std::fs::write(format!("/proc/{}/oom_score_adj", eater.id()), "999").unwrap();
    group.set("cgroup.procs", &eater.id().to_string());
    child.wait().unwrap();
    eater.wait().unwrap();
    ends_well(&project, "out of memory");
}

/// Compilers and linkers, killed at some moment of their work.
#[test]
fn compilers_end_whenever_ibid_is_killed() {
    let functions = |line: fn(usize) -> String| (0..200).map(line).collect::<String>();
    let project = Project::new();
    project.write(
        "a.rs",
        functions(|i| {
            format!("pub fn f{i}(x: u64) -> Vec<u64> {{ let mut v = vec![x; {i}]; v.sort(); v }}\n")
        }),
    );
    project.write("m.rs", "fn main() { println!(\"x\") }\n");
    project.write(
        "a.c",
        format!(
            "int puts(const char *);\n{}",
            functions(|i| format!("int f{i}(int x) {{ return x * {i} + puts(\"a\"); }}\n"))
        ),
    );
    project.write("m.c", "int main(void) { return 0; }\n");
    let rustc = toolchain().map(|it| it.join("rustc").to_string_lossy().into_owned());
    let rust = rustc.iter().flat_map(|rustc| {
        ["--crate-type lib -C codegen-units=8 a.rs", "m.rs"].map(|args| format!("{rustc} {args}"))
    });
    let c = ["gcc", "clang"]
        .into_iter()
        .filter(|tool| tools::have(tool))
        .flat_map(|tool| ["-O1 -c a.c", "m.c -o m"].map(|args| format!("{tool} {args}")));
    let mut random = Random::new(Random::seed());
    for line in rust.chain(c) {
        for round in 0..if tools::long() { 40 } else { 3 } {
            let cache = Cache::new();
            let words: Vec<&str> = line.split_whitespace().collect();
            let mut command = cache.ibid(&words);
            command.current_dir(project.path()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            std::thread::sleep(Duration::from_millis(random.below(400) as u64));
            let _ = child.kill();
            child.wait().unwrap();
            wait_for_end(&project, &format!("{line}, round {round}"));
        }
    }
}

/// Outputs that are open when their program ends: no call closes them.
#[test]
fn what_is_open_at_the_end_is_an_output() {
    const LEAVES: &str = "#include <fcntl.h>\n#include <unistd.h>\n\
        int main(void) { int f = creat(\"out\", 0666); write(f, \"text\", 4); _exit(0); }\n";
    let project = Project::with(&[("leaves.c", LEAVES)]);
    for how in ["", "-static"] {
        for observer in ["preload", "seccomp"] {
            let cache = Cache::new().with("IBID_OBSERVER", observer);
            project.shell(&cache, &format!("gcc {how} leaves.c -o leaves"));
            std::thread::sleep(Duration::from_millis(60));
            let run = || {
                let _ = std::fs::remove_file(project.at("out"));
                let counted = cache.count(|| {
                    let mut command = cache.ibid(["exec", "--", "./leaves"]);
                    command.stdin(Stdio::null()).current_dir(project.path());
                    assert!(command.status().unwrap().success());
                });
                assert_eq!(project.read("out"), b"text", "{how} {observer}");
                counted
            };
            let all: Vec<_> = (0..4).map(|_| run()).collect();
            assert!(all[3].hits() == 1, "{how} {observer}: {all:?}");
        }
    }
}
