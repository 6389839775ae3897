//! The first week of a real user: signals, other tools in the chain, other users, terminals.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::tools;

const HELLO: &[(&str, &str)] = &[("a.c", "#include <stdlib.h>\nint a = 1;\n"), ("b.c", "int b;\n")];

/// A "compiler" that says who it is and then takes its time.
const SLOW: &str = "#!/bin/sh\necho $$\nexec sleep 30\n";

/// The shell line bare and with ibid (`$IBID`): the same text and files; what ibid counted.
fn alike(project: &Project, cache: &Cache, line: &str) -> crate::cache::Counters {
    let run = |ibid: &str| {
        for name in ["a.o", "b.o", "a.d"] {
            let _ = fs::remove_file(project.at(name));
        }
        let mut shell = cache.command("sh");
        shell.args(["-c", line]).env("IBID", ibid).current_dir(project.path()).stdin(Stdio::null());
        let done = shell.output().unwrap();
        (done.status.code(), done.stdout, done.stderr, fs::read(project.at("a.o")).ok())
    };
    let bare = run("");
    let mut ours = None;
    let counted = cache.count(|| ours = Some(run(tools::ibid().to_str().unwrap())));
    let ours = ours.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(
        (ours.0, text(&ours.1), text(&ours.2)),
        (bare.0, text(&bare.1), text(&bare.2)),
        "{line}"
    );
    assert!(ours.3 == bare.3, "{line}: another object");
    counted
}

fn settle() {
    sleep(Duration::from_millis(60));
}

/// Starts a command in a process group of its own and gives it and the number that it first prints.
fn start(mut command: Command) -> (std::process::Child, Pid) {
    let mut child =
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let tool = Pid::from_raw(line.trim().parse().expect("a process id")).unwrap();
    (child, tool)
}

fn group_of(child: &std::process::Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

fn wait_until_gone(pid: Pid) {
    while test_kill_process(pid).is_ok() {
        // A zombie whose parent is gone is init's to reap; its command line is empty.
        let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        if line.is_empty() {
            return;
        }
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn control_c_stops_a_shell_loop() {
    if !tools::have("bash") {
        return;
    }
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    project.write_program("gcc", SLOW);
    let mut shell = cache.command("bash");
    let ibid = tools::ibid().display();
    let line = format!("for i in 1 2 3; do {ibid} ./gcc -c a.c -o a.o; echo $i >> went-on; done");
    shell.args(["-c", &line]).current_dir(project.path());
    let (mut child, tool) = start(shell);
    kill_process_group(group_of(&child), Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(2), "{status:?}");
    assert!(!project.at("went-on").exists(), "the loop went on");
    wait_until_gone(tool);
}

#[test]
fn a_signal_to_ibid_alone_reaches_the_tool() {
    // Under nohup a tool ignores SIGHUP, and so does this process.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    let ignored = u64::from_str_radix(ignored, 16).unwrap();
    let is_heeded = |signal: &Signal| ignored & (1 << (signal.as_raw() - 1)) == 0;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP].into_iter().filter(is_heeded) {
        let (cache, project) = (Cache::new(), Project::with(HELLO));
        project.write_program("gcc", SLOW);
        let mut compile = cache.ibid(["./gcc", "-c", "a.c", "-o", "a.o"]);
        compile.current_dir(project.path());
        let (mut child, tool) = start(compile);
        kill_process(group_of(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(signal.as_raw()));
        wait_until_gone(tool);
    }
}

/// Nobody answers the kernel any more then: a tool that is watched fails, one that is not goes on, and nothing waits for ever.
#[test]
fn ibid_alone_is_killed() {
    if !tools::have("gcc") {
        return;
    }
    for is_first in [true, false] {
        let (cache, project) = (Cache::new(), Project::with(HELLO));
        let script = "#!/bin/sh\necho $$\nsleep 0.3\nexec /usr/bin/env gcc \"$@\"\n";
        project.write_program("gcc", script);
        let line = "./gcc -c a.c -o a.o";
        if !is_first {
            project.shell(&cache, &format!("{} {line}; rm a.o", tools::ibid().display()));
            project.write("a.c", "int a = 2;\n");
        }
        let mut compile = cache.ibid(line.split(' '));
        compile.current_dir(project.path());
        let (mut child, tool) = start(compile);
        kill_process(group_of(&child), Signal::KILL).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        wait_until_gone(tool);
        assert!(is_first || project.at("a.o").exists());
        project.write_program("gcc", &script.replace("echo $$\n", ""));
        project.call(&cache, line).check().expect_miss();
        project.call(&cache, line).check().expect_hit();
    }
}

#[test]
fn timeout_ends_tool_and_wrapper() {
    if !tools::have("timeout") {
        return;
    }
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    project.write_program("gcc", SLOW);
    let mut timeout = cache.command("timeout");
    timeout.arg("1").arg(tools::ibid()).args(["./gcc", "-c", "a.c", "-o", "a.o"]);
    timeout.current_dir(project.path());
    let (mut child, tool) = start(timeout);
    assert_eq!(child.wait().unwrap().code(), Some(124));
    wait_until_gone(tool);
}

#[test]
fn control_c_in_ninja_and_again() {
    if !tools::have("ninja") {
        return;
    }
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let ibid = tools::ibid().display();
    project.write_program(
        "slow-gcc",
        "#!/bin/sh\necho $$ >> pids\nprintf half > a.o\nexec sleep 30\n",
    );
    project.write_program(
        "gcc",
        "#!/bin/sh\n[ -e fast ] && exec /usr/bin/env gcc \"$@\"\nexec ./slow-gcc\n",
    );
    let rule = format!("rule cc\n  command = {ibid} ./gcc -c $in -o $out\nbuild a.o: cc a.c\n");
    project.write("build.ninja", rule);
    let mut ninja = cache.command("ninja");
    let mut child =
        ninja.process_group(0).current_dir(project.path()).stdout(Stdio::null()).spawn().unwrap();
    while !project.at("a.o").exists() {
        sleep(Duration::from_millis(10));
    }
    kill_process_group(group_of(&child), Signal::INT).unwrap();
    assert_ne!(child.wait().unwrap().code(), Some(0));
    project.write("fast", "");
    project.shell(&cache, "ninja && gcc -c a.c -o expected.o && cmp a.o expected.o");
}

#[test]
fn fakeroot() {
    if !tools::have("fakeroot") {
        return;
    }
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    settle();
    for _ in 0..2 {
        let counted = alike(&project, &cache, "fakeroot $IBID gcc -MD -c a.c -o a.o");
        assert_eq!(counted.outcomes(), 1, "{counted:?}");
    }
    // As in one `debian/rules binary`.
    let twice = "$IBID gcc -O1 -c a.c -o a.o && $IBID gcc -O1 -c a.c -o a.o";
    let counted = alike(&project, &cache, &format!("fakeroot sh -c '{twice}'"));
    assert_eq!((counted.get("stored"), counted.hits()), (1, 1), "{counted:?}");
}

#[test]
fn faketime() {
    if !tools::have("faketime") {
        return;
    }
    let cache = Cache::new();
    let project = Project::with(&[("a.c", "const char *when = __DATE__ __TIME__;\n")]);
    settle();
    for day in ["2001-02-03", "2011-12-13"] {
        for _ in 0..2 {
            let line = format!("faketime -f '{day} 04:05:06' $IBID gcc -c a.c -o a.o");
            let counted = alike(&project, &cache, &line);
            assert_eq!((counted.outcomes(), counted.hits()), (1, 0), "{counted:?}");
        }
    }
}

#[test]
fn bear() {
    if !tools::have("bear") {
        return;
    }
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    settle();
    let ibid = tools::ibid().display();
    project.shell(&cache, "gcc -c a.c -o expected.o");
    for _ in 0..2 {
        let line =
            format!("bear --output db.json -- {ibid} gcc -c a.c -o a.o && cmp a.o expected.o");
        let counted = cache.count(|| drop(project.shell(&cache, &line)));
        assert_eq!(counted.outcomes(), 1, "{counted:?}");
        let database: serde_json::Value = serde_json::from_slice(&project.read("db.json")).unwrap();
        assert!(database.is_array());
    }
}

#[test]
fn ccache_in_the_chain() {
    if !tools::have("ccache") {
        return;
    }
    let cache = Cache::new();
    let cache_of_ccache = cache.root().join("ccache");
    let cache = cache.with("CCACHE_DIR", cache_of_ccache.into_os_string());
    let project = Project::with(HELLO);
    settle();
    for line in [
        "$IBID ccache gcc -c a.c -o a.o",
        "ccache $IBID gcc -c a.c -o a.o",
        "CCACHE_PREFIX=\"$IBID\" ccache gcc -c a.c -o a.o",
    ] {
        for _ in 0..2 {
            alike(&project, &cache, line);
        }
    }
    let counted = alike(&project, &cache, "$IBID ccache gcc -O1 -c a.c -o a.o");
    assert_eq!(counted.outcomes(), 1, "{counted:?}");
}

#[test]
fn distcc_in_the_chain() {
    if !tools::have("distcc") {
        return;
    }
    let cache = Cache::new();
    let cache_of_distcc = cache.root().join("distcc");
    let cache = cache
        .with("DISTCC_DIR", cache_of_distcc.into_os_string())
        .with("DISTCC_HOSTS", "127.0.0.1:9")
        .with("DISTCC_VERBOSE", "0");
    let project = Project::with(HELLO);
    settle();
    let ibid = tools::ibid().display();
    project.shell(&cache, "gcc -c a.c -o expected.o");
    for _ in 0..2 {
        let counted = cache.count(|| {
            // The refused connection is logged by distcc with its process id: only the object can be compared.
            project.shell(
                &cache,
                &format!("{ibid} distcc gcc -c a.c -o a.o 2>&1 && cmp a.o expected.o"),
            );
        });
        assert_eq!(
            (counted.outcomes(), counted.hits(), counted.get("stored")),
            (1, 0, 0),
            "{counted:?}"
        );
    }
}

#[test]
fn a_tool_that_uses_the_network() {
    if !tools::have("bash") {
        return;
    }
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    // A connection that nobody accepts is a connection all the same.
    project.write_program(
        "gcc",
        "#!/bin/bash\n(exec 3<>/dev/tcp/127.0.0.1/9) 2>/dev/null\nexec /usr/bin/env gcc \"$@\"\n",
    );
    for _ in 0..2 {
        let seen = project.call(&cache, "./gcc -c a.c -o a.o").check();
        assert!(matches!(seen.outcome, Outcome::NotStored(_)), "{:?}", seen.outcome);
    }
}

#[test]
fn configure_with_libtool() {
    if !["autoreconf", "libtoolize", "make"].iter().all(|tool| tools::have(tool)) {
        return;
    }
    let cache = Cache::new();
    let project = Project::with(&[
        (
            "configure.ac",
            "AC_INIT([small], [1])\nAC_CONFIG_AUX_DIR([aux])\nAC_CONFIG_MACRO_DIRS([m4])\nAM_INIT_AUTOMAKE([foreign subdir-objects])\nAC_PROG_CC\nAM_PROG_AR\nLT_INIT\nAC_CHECK_HEADERS([unistd.h no_such_header.h])\nAC_CONFIG_FILES([Makefile])\nAC_OUTPUT\n",
        ),
        (
            "Makefile.am",
            "ACLOCAL_AMFLAGS = -I m4\nlib_LTLIBRARIES = libsmall.la\nlibsmall_la_SOURCES = one.c two.c\nbin_PROGRAMS = small\nsmall_SOURCES = main.c\nsmall_LDADD = libsmall.la\n",
        ),
        ("one.c", "int one(void) { return 1; }\n"),
        ("two.c", "int two(void) { return 2; }\n"),
        (
            "main.c",
            "#include <stdio.h>\nint one(void), two(void);\nint main(void) { return one() + two() == 3 ? 0 : 1; }\n",
        ),
        ("m4/keep", ""),
        ("aux/keep", ""),
    ]);
    let ibid = tools::ibid().display();
    project.shell(&cache, "autoreconf -fi && mkdir b");
    let configure = format!("cd b && ../configure CC='{ibid} gcc'");
    project.shell(&cache, &configure);
    let cold = cache.count(|| drop(project.shell(&cache, "make -C b && b/small")));
    // Two library sources, each with and without -fPIC, the program, and two links.
    assert_eq!((cold.get("misses"), cold.get("stored")), (7, 7), "{cold:?}");
    project.shell(&cache, "make -C b clean");
    let warm = cache.count(|| drop(project.shell(&cache, "make -C b && b/small")));
    assert_eq!((warm.get("misses"), warm.hits()), (0, 7), "{warm:?}");
    project.shell(&cache, &format!("rm -r b && mkdir b && {configure}"));
}

#[test]
fn an_ordinary_user() {
    if !tools::is_root() || !tools::have("setpriv") {
        return;
    }
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let own = cache.root().join("bin");
    fs::create_dir(&own).unwrap();
    let ibid = own.join("ibid");
    let root = cache.root().display();
    let line = format!(
        "cp '{}' '{}' && chown -R 65534:65534 '{root}' '{}'",
        tools::ibid().display(),
        ibid.display(),
        project.path().display()
    );
    project.shell(&cache, &line);
    settle();
    let count = || {
        let user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        let run = |args: &[&str]| {
            let mut command = cache.command("setpriv");
            command.args(user).arg(&ibid).args(args).current_dir(project.path());
            let done = command.stdin(Stdio::null()).output().unwrap();
            assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
            String::from_utf8(done.stdout).unwrap()
        };
        run(&["gcc", "-c", "a.c", "-o", "a.o"]);
        serde_json::from_str::<serde_json::Value>(&run(&["stats", "--json"])).unwrap()
    };
    let first = count();
    assert_eq!(first["stored"], 1, "{first}");
    let second = count();
    assert_eq!(second["invocation_hits"], 1, "{second}");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(project.at("a.o")).unwrap());
    assert_eq!(owner, 65534);
    // Root comes by: whatever is made of the other user's cache, the build is right.
    project.shell(&cache, "gcc -c a.c -o expected.o");
    project.shell(&cache, &format!("'{}' gcc -c a.c -o a.o && cmp a.o expected.o", ibid.display()));
    assert_eq!(count()["tool_failures"], 0);
}

#[test]
fn a_terminal_by_script() {
    if !tools::have("script") {
        return;
    }
    let cache = Cache::new().with("TERM", "xterm");
    let project = Project::with(&[("a.c", "int f(void) { int unused; return 1; }\n")]);
    settle();
    for tool in tools::present(tools::C) {
        for _ in 0..3 {
            let line = format!("script -qec \"$IBID {tool} -Wall -c a.c -o a.o\" typescript");
            let counted = alike(&project, &cache, &line);
            assert_eq!(counted.outcomes(), 1, "{counted:?}");
        }
    }
}

#[test]
fn a_tool_that_leaves_something_behind_it() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let script = "#!/bin/sh\n(sleep 1; echo late) &\nexec /usr/bin/env gcc \"$@\"\n";
    project.write_program("gcc", script);
    for _ in 0..2 {
        let seen = project.call(&cache, "./gcc -c a.c -o a.o").check();
        assert_eq!(seen.done.stdout, "late\n");
        assert!(!seen.outcome.is_hit(), "what comes late cannot be replayed: {:?}", seen.outcome);
    }
}

#[test]
fn a_compile_with_limits_and_descriptors_of_its_own() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    // The tool gets the descriptors that ibid was given, and no others.
    project.write_program(
        "gcc",
        "#!/bin/sh\nls /proc/self/fd | grep -v -e 255 | wc -l\nulimit -n\nulimit -s\ncat <&7\n",
    );
    settle();
    let line = "ulimit -n 77; ulimit -s 4096; exec 7< a.c; $IBID ./gcc -c a.c -o a.o";
    alike(&project, &cache, line);
}
