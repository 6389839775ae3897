//! Places where not everything is allowed that ibid would like to do: containers, sandboxes, old kernels. The build is as
//! without it; what cannot be watched is said by `doctor` in a line.

use std::process::Command;

use crate::cache::{Cache, Outcome};
use crate::call::{Call, Through};
use crate::project::Project;
use crate::tools;

/// Runs a program in which one system call fails.
const DENY: &str = r"
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)
int main(int argc, char **argv) {
    struct sock_filter lines[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CALL, 0, 1),
        RETURN(SECCOMP_RET_ERRNO | ERROR),
        RETURN(SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof lines / sizeof *lines, lines };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return 77;
    execv(argv[1], argv + 1);
    return 78;
}
";

/// Copies a file, if it gets a listener of its own.
const WATCHES: &str = r#"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
    struct sock_filter lines[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
    struct sock_fprog program = { 1, lines };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return 1;
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program) < 0) return 2;
    FILE *in = fopen("in", "r"), *out = fopen("out", "w");
    char text[100];
    fwrite(text, 1, fread(text, 1, sizeof text, in), out);
    puts("listens");
    return fclose(out);
}
"#;

/// A program by the name of ibid's that runs ibid in this place, and the cache's `doctor` there.
struct Place {
    cache: Cache,
    project: Project,
}

impl Place {
    /// Where this call fails; `None` if there is nothing to build the place with.
    fn without(call: &str, error: &str) -> Option<Place> {
        if !["gcc", "sh"].into_iter().all(tools::have) {
            return None;
        }
        let place = Place { cache: Cache::new(), project: Project::with(&[("a.c", "int a;\n")]) };
        place.project.write("deny.c", DENY);
        let line = format!("gcc -DCALL=SYS_{call} -DERROR={error} deny.c -o deny");
        place.project.shell(&place.cache, &line);
        let deny = place.project.at("deny");
        place.project.write_program(
            "ibid",
            &format!("#!/bin/sh\nexec {} {} \"$@\"\n", deny.display(), tools::ibid().display()),
        );
        Some(place)
    }

    /// Compiles; what it was counted as.
    fn outcome(&self) -> String {
        let counted = self.cache.count(|| {
            let mut compile = self.cache.command(self.project.at("ibid"));
            compile.args(["gcc", "-c", "a.c", "-o", "a.o"]).current_dir(self.project.path());
            let done = compile.output().unwrap();
            assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
        });
        self.project.shell(&self.cache, "gcc -c a.c -o bare.o && cmp a.o bare.o && rm a.o");
        format!("{:?}", counted.outcome())
    }

    fn doctor(&self) -> String {
        let done = self
            .cache
            .command(self.project.at("ibid"))
            .args(["doctor", "-v", "--quick"])
            .output()
            .unwrap();
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    }
}

/// Calls that some containers forbid, without which the second observer, or both, can do as well.
#[test]
fn calls_that_can_be_done_without() {
    for call in [
        "pidfd_open",
        "pidfd_getfd",
        "memfd_create",
        "ptrace",
        "io_uring_setup",
        "statx",
        "fallocate",
        "flock",
    ] {
        for error in ["EPERM", "ENOSYS"] {
            let Some(place) = Place::without(call, error) else { return };
            assert_eq!(place.outcome(), "Miss", "{call} {error}");
            assert_eq!(place.outcome(), "InvocationHit", "{call} {error}");
        }
    }
}

/// A file system, or a sandbox, that has no such call: the cache is made all the same.
#[test]
fn calls_that_are_not_supported() {
    for call in ["fallocate", "flock"] {
        let Some(place) = Place::without(call, "EOPNOTSUPP") else { return };
        assert_eq!(place.outcome(), "Miss", "{call}");
        assert_eq!(place.outcome(), "InvocationHit", "{call}");
        assert!(!place.doctor().contains("fail"), "{call}");
    }
}

/// What was stored where `statx` is refused is a hit where it is not, and the other way round.
#[test]
fn states_of_files_by_either_call() {
    let Some(place) = Place::without("statx", "EPERM") else { return };
    // By a shell too, which sets PWD.
    let script = format!("#!/bin/sh\nexec {} \"$@\"\n", tools::ibid().display());
    place.project.write_program("plain", &script);
    let bare = || {
        let counted = place.cache.count(|| {
            let mut compile = place.cache.command(place.project.at("plain"));
            compile.args(["gcc", "-c", "a.c", "-o", "a.o"]);
            assert!(compile.current_dir(place.project.path()).status().unwrap().success());
        });
        format!("{:?}", counted.outcome())
    };
    assert_eq!(place.outcome(), "Miss");
    assert_eq!(bare(), "InvocationHit");
    place.project.write("a.c", "int b;\n");
    std::thread::sleep(std::time::Duration::from_millis(60));
    assert_eq!(bare(), "Miss");
    assert_eq!(place.outcome(), "InvocationHit");
}

/// Nothing can be watched from outside: the shim alone decides.
#[test]
fn no_second_observer() {
    for (call, error) in
        [("seccomp", "EPERM"), ("seccomp", "ENOSYS"), ("process_vm_readv", "EPERM")]
    {
        let Some(place) = Place::without(call, error) else { return };
        assert_eq!(place.outcome(), "Miss", "{call} {error}");
        assert_eq!(place.outcome(), "InvocationHit", "{call} {error}");
        assert!(place.doctor().contains("system calls cannot be watched"), "{call} {error}");
    }
}

#[test]
fn sandboxes() {
    for launcher in [
        "unshare -Ur",
        "unshare -Urpf --mount-proc",
        "setpriv --no-new-privs",
        "setpriv --bounding-set=-all --inh-caps=-all",
        "bwrap --bind / / --dev-bind /dev /dev --proc /proc --unshare-all",
    ] {
        let words: Vec<&str> = launcher.split_whitespace().collect();
        if !tools::have(words[0]) {
            continue;
        }
        let may = Command::new(words[0]).args(&words[1..]).arg("true").output().unwrap();
        if !may.status.success() {
            let why = String::from_utf8_lossy(&may.stderr);
            tools::skip(&format!("{launcher} is not possible here: {}", why.trim()));
            continue;
        }
        let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a;\n")]));
        let link = project.at("b/gcc");
        let ibid = tools::ibid().display();
        project.write_program("b/gcc", &format!("#!/bin/sh\nexec {launcher} {ibid} gcc \"$@\"\n"));
        let call = || {
            let argv = "gcc -c a.c -o a.o".split_whitespace();
            Call::new(&cache, project.path(), argv).through(Through::Masquerade(link.clone()))
        };
        call().check().expect_miss();
        call().check().expect_hit();
    }
}

/// There is one listener for a process. A tool that wants it for itself is not watched but once.
#[test]
fn a_tool_that_watches_its_own_calls() {
    if !tools::have("gcc") {
        return;
    }
    let cache = Cache::new();
    let project = Project::with(&[("in", "text\n"), ("watches.c", WATCHES)]);
    project.shell(&cache, "gcc watches.c -o watches");
    let bare = project.shell(&cache, "./watches; cat out; rm out");
    let call = project.call(&cache, "./watches").through(Through::Exec);
    let first = cache.count(|| {
        let mut call = cache.ibid(["exec", "--", "./watches"]);
        call.current_dir(project.path()).output().unwrap();
    });
    assert!(!first.outcome().is_hit(), "{first:?}");
    let _ = std::fs::remove_file(project.at("out"));
    assert!(bare.starts_with("listens"), "{bare}");
    call.check().expect(&Outcome::Miss);
    project.remove("out");
    call.check().expect_hit();
}
