//! Tools that do what no compiler does: the build is as without ibid, and nothing is stored that was not seen whole.
//!
//! Read next: `oracle.rs` (the usual ones).

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use crate::cache::{Cache, Outcome};
use crate::call::Through;
use crate::project::Project;
use crate::tools;

const COPY: &str = r#"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
extern char **environ;
static int copy(const char *from, const char *to) {
    char text[4096];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    ssize_t len = in < 0 ? -1 : read(in, text, sizeof text);
    return out < 0 || len < 0 || write(out, text, len) != len || close(in) || close(out);
}
int main(int argc, char **argv) {
    const char *how = argc > 3 ? argv[3] : "";
    if (!strcmp(how, "closes"))
        for (int fd = 3; fd < 1024; fd++) close(fd);
    if (!strcmp(how, "clears")) {
        environ = NULL;
        if (system("cat in > by_child")) return 1;
    }
    if (!strcmp(how, "moves")) {
        if (chdir("sub")) return 1;
        return copy("../in", "../out");
    }
    if (!strcmp(how, "daemon") && fork() == 0) {
        setsid();
        for (int fd = 0; fd < 3; fd++) close(fd);
        sleep(1);
        return copy("in", "late");
    }
    if (!strcmp(how, "dies")) {
        copy("in", "out");
        raise(SIGKILL);
    }
    if (!strcmp(how, "talks"))
        for (int line = 0; line < 400000; line++) fprintf(stderr, "warning %d: %060d\n", line, line);
    if (!strcmp(how, "ring")) {
        char parameters[120] = {0};
        syscall(SYS_io_uring_setup, 4, parameters);
    }
    if (!strcmp(how, "asks")) {
        char name[64];
        sprintf(name, "/proc/self/%s", time(NULL) > 0 ? "cmdline" : "comm");
        if (access(name, R_OK)) return 1;
    }
    if (!strcmp(how, "other") && system("./other")) return 1;
    return copy(argv[1], argv[2]);
}
"#;

/// The same copy by raw calls, where no library function is.
const RAW: &str = r#"
#include <fcntl.h>
#include <sys/syscall.h>
static long call(long n, long a, long b, long c, long d) {
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "+a"(n) : "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return n;
}
int main(void) {
    char text[4096];
    long in = call(SYS_openat, AT_FDCWD, (long)"in", O_RDONLY, 0);
    long out = call(SYS_openat, AT_FDCWD, (long)"out", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    long len = call(SYS_read, in, (long)text, sizeof text, 0);
    return call(SYS_write, out, (long)text, len, 0) != len;
}
"#;

/// A 32-bit program that only ends.
const OTHER: &str = ".globl _start\n_start: mov $1, %eax\n xor %ebx, %ebx\n int $0x80\n";

fn compile(project: &Project, flags: &[&str]) {
    let done = Command::new("gcc").args(flags).current_dir(project.path()).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

fn project(flags: &[&str]) -> Project {
    let project = Project::with(&[("in", "text\n"), ("sub/x", ""), ("copy.c", COPY)]);
    compile(&project, &[&["-w", "copy.c", "-o", "copy"], flags].concat());
    project
}

fn unstored(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::NotStored(_))
}

#[test]
fn tools_that_behave_badly_are_run_as_without_us() {
    if !tools::have("gcc") {
        return;
    }
    for flags in [&[][..], &["-static"]] {
        let (cache, project) = (Cache::new(), project(flags));
        // The first runs teach which observers are needed.
        for (how, may_be_stored) in [
            ("", true),
            ("closes", true),
            ("clears", true),
            ("moves", true),
            ("talks", false),
            ("ring", false),
            ("asks", false),
        ] {
            let call = project.call(&cache, &format!("./copy in out {how}"));
            let call = call.through(Through::Exec);
            for _ in 0..3 {
                let seen = call.check();
                assert_eq!(seen.done.code, Some(0), "{how}");
                assert!(may_be_stored || unstored(&seen.outcome), "{how}: {:?}", seen.outcome);
            }
        }
        let seen = project.call(&cache, "./copy in out dies").through(Through::Exec).check();
        assert_eq!(seen.done.signal, Some(9));
        assert_eq!(seen.outcome, Outcome::ToolFailure);
    }
}

#[test]
fn what_a_daemon_does_later_is_not_ours_to_spoil() {
    if !tools::have("gcc") {
        return;
    }
    for flags in [&[][..], &["-static"]] {
        let (cache, project) = (Cache::new(), project(flags));
        let counted = cache.count(|| {
            let mut call = cache.ibid(["exec", "--", "./copy", "in", "out", "daemon"]);
            let done = call.current_dir(project.path()).output().unwrap();
            assert!(done.status.success(), "{done:?}");
        });
        assert!(unstored(&counted.outcome()), "{counted:?}");
        let late = project.at("late");
        while fs::read(&late).unwrap_or_default() != b"text\n" {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

#[test]
fn a_static_tool_is_cached() {
    if !tools::have("gcc") {
        return;
    }
    let (cache, project) = (Cache::new(), project(&["-static"]));
    let call = project.call(&cache, "./copy in out").through(Through::Exec);
    call.check().expect_miss();
    if watched(&cache, &project, "./copy") {
        // It writes over what is there without a look.
        call.check().expect_hit();
        project.write("in", "other text\n");
        call.check().expect_miss();
        call.check().expect_hit();
        call.env("SOME", "value").check().expect_miss();
    }
}

/// Whether system calls can be watched here at all.
fn watched(cache: &Cache, project: &Project, tool: &str) -> bool {
    let log = cache.root().join("log");
    let mut call = cache.ibid(["exec", "--", tool, "in", "probe"]);
    call.env("IBID_OBSERVER", "seccomp").env("IBID_LOG", &log).current_dir(project.path());
    call.output().unwrap();
    let told = fs::read_to_string(log).unwrap_or_default();
    let Some(reason) = crate::oracle::unwatchable(&told) else { return true };
    assert!(std::env::var_os("CI").is_none(), "{reason}");
    tools::skip(reason);
    false
}

/// The shim sees nothing of it: the first run teaches that, later ones are watched, and are stored.
#[test]
fn raw_calls_are_found_out() {
    if !tools::have("gcc") || !cfg!(target_arch = "x86_64") {
        return;
    }
    let (cache, project) = (Cache::new(), Project::with(&[("in", "text\n"), ("raw.c", RAW)]));
    compile(&project, &["-O1", "raw.c", "-o", "copy"]);
    let call = project.call(&cache, "./copy").through(Through::Exec);
    assert!(unstored(&call.check().outcome));
    if watched(&cache, &project, "./copy") {
        call.check().expect(&Outcome::Miss);
        call.check().expect_hit();
        project.write("in", "other text\n");
        call.check().expect_miss();
        call.check().expect_hit();
    }
}

#[test]
fn a_program_for_another_machine_is_run_and_not_stored() {
    if !tools::have("gcc") || !cfg!(target_arch = "x86_64") {
        return;
    }
    let (cache, project) = (Cache::new(), project(&[]));
    project.write("other.s", OTHER);
    compile(&project, &["-m32", "-nostdlib", "-static", "other.s", "-o", "other"]);
    let call = project.call(&cache, "./copy in out other").through(Through::Exec);
    for _ in 0..2 {
        assert!(unstored(&call.check().outcome));
    }
}

#[test]
fn a_sanitized_tool_is_seen_without_the_shim() {
    if !tools::have("gcc") {
        return;
    }
    let (cache, project) = (Cache::new(), project(&["-fsanitize=address"]));
    let call = project.call(&cache, "./copy in out").through(Through::Exec);
    for _ in 0..2 {
        let seen = call.check();
        assert_eq!((seen.done.code, seen.done.stderr.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_tool_that_starts_a_program_of_another_user() {
    if !tools::have("gcc") || !tools::is_root() {
        return;
    }
    let (cache, project) = (Cache::new(), project(&[]));
    project.write("id.c", "#include <unistd.h>\nint main(void) { return geteuid() != 65534; }\n");
    compile(&project, &["id.c", "-o", "other"]);
    std::os::unix::fs::chown(project.at("other"), Some(65534), Some(65534)).unwrap();
    project.chmod("other", 0o4755);
    let call = project.call(&cache, "./copy in out other").through(Through::Exec);
    for _ in 0..2 {
        assert!(unstored(&call.check().outcome));
    }
}

/// Without privileges the filter needs "no new privileges", which a compiler may be given and an unknown tool may not.
#[test]
fn privileges_are_not_taken_from_unknown_tools() {
    if !tools::have("gcc") || !tools::have("setpriv") || !tools::is_root() {
        return;
    }
    let (cache, project) = (Cache::new(), project(&["-static"]));
    project.write("a.c", "int a;\n");
    for path in
        [cache.root(), &cache.root().join("home"), &cache.root().join("runtime"), project.path()]
    {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let run = |words: &[&str]| {
        let mut call = cache.command("setpriv");
        call.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(tools::ibid());
        call.args(words).env("IBID_LOG", "stderr").current_dir(project.path());
        let done = call.output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stderr).unwrap()
    };
    let told = run(&["gcc", "-c", "a.c", "-o", "a.o"]);
    assert!(told.contains("watched by both observers"), "{told}");
    let told = run(&["exec", "--", "./copy", "in", "out"]);
    assert!(told.contains("cannot be watched: Permission denied"), "{told}");
    assert!(told.contains("not stored, observation_incomplete"), "{told}");
}

/// There is one listener for a process: whoever watches further out keeps it, and the build goes on.
#[test]
fn an_ibid_below_a_watched_static_tool() {
    if !tools::have("gcc") || !tools::is_root() {
        return;
    }
    let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a;\n")]));
    let launch =
        "#include <unistd.h>\nint main(int c, char **v) { execv(v[1], v + 1); return 1; }\n";
    project.write("launch.c", launch);
    compile(&project, &["-static", "launch.c", "-o", "launch"]);
    let log = cache.root().join("log");
    let mut call = cache.ibid(["exec", "--", "./launch"]);
    call.arg(tools::ibid()).args(["gcc", "-c", "a.c", "-o", "a.o"]);
    let done = call.env("IBID_LOG", &log).current_dir(project.path()).output().unwrap();
    assert!(done.status.success() && done.stdout.is_empty() && done.stderr.is_empty(), "{done:?}");
    assert!(project.at("a.o").is_file());
    let told = fs::read_to_string(log).unwrap();
    assert!(told.contains("cannot be watched: "), "{told}");
}

/// More text than anybody keeps: it is passed on as it comes, and memory stays small.
#[test]
fn a_torrent_of_warnings() {
    if !["gcc", "head", "tr"].into_iter().all(tools::have) {
        return;
    }
    let total: usize = 1 << 30;
    let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a;\n")]));
    let script = format!(
        "#!/bin/sh\nhead -c {total} /dev/zero | tr '\\0' w >&2\nsleep 0.5\nexec /usr/bin/env gcc \"$@\"\n"
    );
    project.write_program("gcc", &script);
    let counted = cache.count(|| {
        let mut compile = cache.ibid(["./gcc", "-c", "a.c", "-o", "a.o"]);
        compile.current_dir(project.path()).stderr(Stdio::piped());
        let mut compile = compile.spawn().unwrap();
        let mut text = compile.stderr.take().unwrap();
        let (mut seen, mut piece) = (0, vec![0; 1 << 20]);
        while seen < total {
            let len = text.read(&mut piece).unwrap();
            assert!(len > 0, "the text ends after {seen} bytes");
            assert!(piece[..len].iter().all(|byte| *byte == b'w'), "after {seen} bytes");
            seen += len;
        }
        // The tool sleeps.
        let status = fs::read_to_string(format!("/proc/{}/status", compile.id())).unwrap();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let most_kib: usize = most.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(most_kib < 48 << 10, "{most_kib} KiB for {total} bytes of text");
        assert!(compile.wait().unwrap().success());
    });
    assert_eq!(counted.outcome(), Outcome::NotStored("too_much_text".into()));
    project.shell(&cache, "gcc -c a.c -o bare.o && cmp a.o bare.o");
}
