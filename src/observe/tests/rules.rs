//! Single rules of the observation, each on a small program.

use std::os::unix::fs::MetadataExt as _;

use super::{Fact, Made, Observation, Place, fs};

impl Place {
    /// Compiles the body of a C `main`, and observes it.
    fn observe_c(&self, body: &str) -> Observation {
        let head = "#define _GNU_SOURCE\n#include <fcntl.h>\n#include <unistd.h>\n#include <stdio.h>\n#include <stdlib.h>\n\
            #include <string.h>\n#include <time.h>\n#include <errno.h>\n#include <locale.h>\n#include <dlfcn.h>\n\
            #include <getopt.h>\n#include <utime.h>\n#include <sys/stat.h>\n#include <sys/utsname.h>\n#include <sys/time.h>\n#include <sys/wait.h>\n\
            #include <sys/random.h>\n#include <sys/resource.h>\n#include <sys/sysinfo.h>\n#include <sys/syscall.h>\n#include <sys/vfs.h>\n";
        self.write(
            "p.c",
            &format!("{head}int main(int argc, char **argv) {{ {body}; return 0; }}\n"),
        );
        self.run("gcc -w p.c -o p");
        self.observe("./p").whole()
    }

    /// The output of this name has the stat that the file has now.
    fn is_whole(&self, what: &Observation, name: &str) -> bool {
        let output = what.outputs.iter().find(|output| output.path.as_os_str() == name);
        let metadata = fs::metadata(self.path(name)).expect("it is there");
        let ctime_ns = metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec();
        output
            .and_then(|output| output.stat)
            .is_some_and(|stat| stat.ctime_ns == ctime_ns && stat.size == metadata.len())
    }
}

fn has(what: &Observation, fact: Fact) -> bool {
    what.facts.contains(&fact)
}

#[test]
fn append_where_nothing_was() {
    let place = Place::new();
    let append = "FILE *f = fopen(\"log\", \"a\"); fputs(\"x\", f); fclose(f)";
    let what = place.observe_c(append);
    assert_eq!((what.outputs[0].how, what.outputs[0].existed_before), (Made::Modified, false));
    let what = place.observe_c(append);
    assert_eq!((what.outputs[0].how, what.outputs[0].existed_before), (Made::Modified, true));
    let what = place.observe_c("close(open(\"new\", O_CREAT | O_EXCL | O_WRONLY, 0666))");
    assert_eq!(what.outputs[0].how, Made::Created);
    // What the tree has removed itself was not there.
    let what =
        place.observe_c("close(creat(\"t\", 0666)); unlink(\"t\"); fclose(fopen(\"t\", \"a\"))");
    assert_eq!(what.outputs[0].how, Made::Created);
    // Not cut, renamed: that the temporary was not there is part of the truth.
    let what = place.observe_c("fclose(fopen(\"tmp\", \"a\")); rename(\"tmp\", \"renamed\")");
    assert_eq!(what.outputs[0].how, Made::Renamed);
    assert!(what.misses("tmp"), "{:?}", what.absences);
}

/// What the tree would have taken away cannot have been read: mold renames the old output, reads it, makes a new one.
#[test]
fn what_was_to_be_removed_is_not_looked_for() {
    let place = Place::new();
    for away in ["rename(\"o\", \"old\")", "unlink(\"o\")", "remove(\"o\")"] {
        for make in [
            "open(\"o\", O_RDONLY); close(creat(\"n\", 0666)); rename(\"n\", \"o\")",
            "fclose(fopen(\"o\", \"a\"))",
        ] {
            let what = place.observe_c(&format!("{away}; {make}"));
            let output = what.outputs.iter().find(|output| output.path.as_os_str() == "o");
            let output = output.expect("an output");
            assert!(!output.existed_before && !output.must_be_absent, "{away} {make}");
            // It knows that nothing was there.
            assert!(output.was_asked);
            fs::remove_file(place.path("o")).expect("it was made");
        }
        let what =
            place.observe_c(&format!("open(\"o\", O_RDONLY); {away}; close(creat(\"o\", 0666))"));
        assert!(what.outputs[0].must_be_absent, "{away} comes too late");
        fs::remove_file(place.path("o")).expect("it was made");
    }
}

#[test]
fn what_tells_that_something_is_there() {
    let place = Place::new();
    for (act, is_asked) in [
        ("close(creat(\"o\", 0666))", false),
        ("close(creat(\"n\", 0666)); rename(\"n\", \"o\")", false),
        ("fclose(fopen(\"o\", \"w\")); access(\"o\", F_OK)", false),
        ("access(\"o\", F_OK); close(creat(\"o\", 0666))", true),
        ("unlink(\"o\"); close(creat(\"o\", 0666))", true),
        ("opendir(\".\"); close(creat(\"o\", 0666))", true),
        ("close(open(\"o\", O_CREAT | O_EXCL | O_WRONLY, 0666))", true),
        ("close(creat(\"n\", 0666)); link(\"n\", \"o\"); unlink(\"n\")", true),
    ] {
        let what = place.observe_c(act);
        let output = what.outputs.iter().find(|output| output.path.as_os_str() == "o");
        assert_eq!(output.expect("an output").was_asked, is_asked, "{act}");
        fs::remove_file(place.path("o")).expect("it was made");
    }
}

#[test]
fn gcc_appends_its_report() {
    let place = Place::new();
    place.write(
        "a.c",
        "int f(int *a) { int s = 0; for (int i = 0; i < 99; i++) s += a[i]; return s; }\n",
    );
    let what = place.observe("gcc -O3 -fopt-info-all=report -c a.c").whole();
    let report = what.outputs.iter().find(|output| output.path.as_os_str() == "report");
    let report = report.expect("an output");
    assert_eq!((report.how, report.existed_before), (Made::Modified, false));
}

#[test]
fn mode_and_times_of_own_files() {
    let place = Place::new();
    let make =
        "int fd = open(\"o\", O_CREAT | O_TRUNC | O_WRONLY, 0666); write(fd, \"x\", 1); close(fd);";
    for harmless in [
        "chmod(\"o\", 0755)",
        "chown(\"o\", getuid(), getgid())",
        "chown(\"o\", -1, -1)",
        "utime(\"o\", NULL)",
        "utimensat(AT_FDCWD, \"o\", NULL, 0)",
        "struct timespec t[2] = {{1, 2}, {0, UTIME_NOW}}; utimensat(AT_FDCWD, \"o\", t, 0)",
        "close(creat(\"t\", 0600)); chmod(\"t\", 0700); struct utimbuf b = {1, 2}; utime(\"t\", &b); unlink(\"t\")",
        "chmod(\"absent\", 0755)",
    ] {
        let what = place.observe_c(&format!("{make} {harmless}"));
        assert!(!has(&what, Fact::SideEffect), "{harmless}");
        assert!(place.is_whole(&what, "o"), "{harmless}");
    }
    place.write("foreign", "x");
    for harmful in [
        "struct utimbuf b = {1, 2}; utime(\"o\", &b)",
        "struct timespec t[2] = {{0, UTIME_OMIT}, {1, 2}}; utimensat(AT_FDCWD, \"o\", t, 0)",
        "chown(\"o\", -1, 12345)",
        "chmod(\"foreign\", 0755)",
        "utime(\"foreign\", NULL)",
        "int d = open(\"foreign\", O_RDONLY); fchmod(d, 0700)",
    ] {
        let what = place.observe_c(&format!("{make} {harmful}"));
        assert!(has(&what, Fact::SideEffect), "{harmful}");
        fs::remove_file(place.path("o")).expect("it was made");
    }
    let split = {
        place.write("a.c", "int x;\n");
        place.observe("gcc -g -gsplit-dwarf -c a.c").whole()
    };
    assert!(!has(&split, Fact::SideEffect));
    assert!(place.is_whole(&split, "a.o") && place.is_whole(&split, "a.dwo"));
    place.write("m.c", "int main(void) { return 0; }\n");
    let linked = place.observe("gcc m.c -o m").whole();
    assert!(!has(&linked, Fact::SideEffect) && place.is_whole(&linked, "m"));
}

#[test]
fn removed_shim() {
    let place = Place::new();
    place.on_disk.set(true);
    place.write("popen.c", "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n\
        int main(int c, char **v) { remove(v[1]); return system(\"cat f\") || getenv(\"LD_PRELOAD\") != 0; }\n");
    place.run("gcc popen.c -o popen");
    place.write("f", "x");
    let shim = place.cache().join("*.so");
    let script = format!("rm -f {}; cat f; sh -c 'cat f; cat f'; exec cat f", shim.display());
    let seen = place.observe_args(&["sh", "-c", &script]);
    assert!(seen.status.success());
    assert_eq!((seen.stdout.as_slice(), seen.stderr.as_str()), (&b"xxxx"[..], ""));
    assert!(seen.what.incomplete.is_some_and(|reason| reason.contains("shim")));
    // The shell of `system` gets the process's own environment.
    let python = "import os, subprocess, glob\nos.remove(glob.glob(os.environ['C'] + '/*.so')[0])\nsubprocess.run(['cat', 'f'])\n";
    place.write("p.py", python);
    let seen = place.observe_with(&["/usr/bin/python3", "p.py"], |command| {
        command.env("C", place.cache());
    });
    assert_eq!((seen.stdout.as_slice(), seen.stderr.as_str()), (&b"x"[..], ""));
    assert!(seen.what.incomplete.is_some());
    drop(super::Preload::prepare_on_disk(&place.cache(), &place.path(".")).expect("a place"));
    let entry = fs::read_dir(place.cache()).expect("a directory").next().expect("a shim");
    let path = entry.expect("a shim").path();
    let seen = place.observe_args(&["./popen", path.to_str().expect("plain")]);
    assert!(seen.status.success());
    assert_eq!((seen.stdout.as_slice(), seen.stderr.as_str()), (&b"x"[..], ""));
    assert!(seen.what.incomplete.is_some());
}

#[test]
fn shim_removed_before_the_start() {
    let place = Place::new();
    let preload =
        super::Preload::prepare_on_disk(&place.cache(), &place.path(".")).expect("a place");
    fs::remove_dir_all(place.cache()).expect("it is there");
    assert!(preload.environment().is_empty());
    assert!(preload.finish().incomplete.is_some());
}

#[test]
fn time_asked_by_a_terminal_library() {
    let place = Place::new();
    place.write("lib.c", "#include <time.h>\nlong ask(void) { return time(0); }\n");
    place.write("p.c", "long ask(void);\nint main(void) { return ask() == 0; }\n");
    for (name, counts) in [("libtinfo.so.7", false), ("libother.so", true), ("libtinfox.so", true)]
    {
        place.run(&format!("gcc -shared -fPIC lib.c -Wl,-soname,{name} -o {name}"));
        place.run(&format!("gcc p.c ./{name} -Wl,-rpath,{} -o p", place.path(".").display()));
        let what = place.observe("./p").whole();
        assert_eq!(has(&what, Fact::Time), counts, "{name}");
    }
    place.run("gcc -no-pie lib.c p.c -o p");
    assert!(has(&place.observe("./p").whole(), Fact::Time));
    place.run("gcc -pie -fPIE lib.c p.c -o p");
    assert!(has(&place.observe("./p").whole(), Fact::Time));
    assert!(
        has(&place.observe_c("return syscall(201, 0) == 0"), Fact::Time)
            || cfg!(target_arch = "aarch64")
    );
}

#[test]
fn clang_on_a_terminal() {
    let place = Place::new();
    place.write("a.c", "int x;\n");
    let clang = super::find("clang");
    let mut preload =
        super::Preload::prepare_in(&place.cache(), &place.path(".")).expect("a place for the shim");
    assert!(preload.check(&clang));
    let mut words = String::from("TERM=xterm");
    for (name, value) in preload.environment() {
        words.extend([" ", &name.to_string_lossy(), "=", &value.to_string_lossy()]);
    }
    place.run_args(&["script", "-qec", &format!("{words} {} -c a.c", clang.display()), "log"]);
    let what = preload.finish();
    assert_eq!(what.incomplete, None);
    assert!(what.inputs.iter().any(|input| input.path.ends_with("terminfo/x/xterm")));
    assert!(!has(&what, Fact::Time), "{:?}", what.facts);
}

#[test]
fn unseen_looks_of_libc() {
    let place = Place::new();
    let what = place.observe_c("getopt(argc, argv, \"a\")");
    assert!(what.asks("POSIXLY_CORRECT"));
    let what = place.observe_c("setlocale(LC_ALL, \"xx_YY.UTF-8\")");
    assert!(what.misses("/usr/lib/locale/xx_YY.UTF-8"), "{:?}", what.absences);
    let what = place.observe_c("char n[99]; gethostname(n, 99)");
    assert!(what.reads("/etc/hostname") || what.misses("/etc/hostname"));
    let what = place.observe_c("getlogin()");
    assert!(has(&what, Fact::UnrepeatableInput));
    let what = place.observe_c("free(get_current_dir_name())");
    assert!(what.asks("PWD"));
}

#[test]
fn objects_loaded_later() {
    let place = Place::new();
    place.write("l.c", "int l;\n");
    place.run("gcc -shared -fPIC l.c -o l.so");
    let what = place.observe_c(
        "if (!dlopen(\"./l.so\", RTLD_NOW) || dlopen(\"./no.so\", RTLD_NOW) || dlopen(\"libnowhere.so.1\", RTLD_NOW)) return 1;\
         if (!dlopen(NULL, RTLD_NOW) || !dlopen(\"libm.so.6\", RTLD_LAZY)) return 2",
    );
    assert!(what.reads("./l.so") && what.misses("./no.so"));
    let library = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86_64" };
    assert!(what.misses(format!("/lib/{library}-linux-gnu/libnowhere.so.1")));
    // The caller's own RUNPATH still counts.
    fs::create_dir(place.path("d")).expect("a directory");
    place.run("gcc -shared -fPIC l.c -o d/libhidden.so");
    place.write(
        "q.c",
        "#include <dlfcn.h>\nint main(void) { return !dlopen(\"libhidden.so\", RTLD_NOW); }\n",
    );
    place.run("gcc q.c -Wl,--enable-new-dtags -Wl,-rpath,$ORIGIN/d -o q");
    let what = place.observe("./q").whole();
    assert!(what.reads(place.path("d/libhidden.so")), "{:?}", what.inputs);
}

#[test]
fn child_in_another_directory() {
    let place = Place::new();
    fs::create_dir(place.path("d")).expect("a directory");
    place.write("d/g", "y");
    let body = "posix_spawn_file_actions_t a; posix_spawn_file_actions_init(&a); char *v[] = {\"cat\", \"g\", 0}; int s; pid_t p;\
        posix_spawn_file_actions_addchdir_np(&a, \"d\"); if (posix_spawn(&p, \"/bin/cat\", &a, 0, v, environ)) return 1; waitpid(p, &s, 0)";
    place.write("s.c", &format!("#define _GNU_SOURCE\n#include <spawn.h>\n#include <unistd.h>\n#include <sys/wait.h>\nint main(void) {{ {body}; return s; }}\n"));
    place.run("gcc s.c -o s");
    let what = place.observe("./s").whole();
    assert!(what.reads(place.path("d/g")));
}

#[test]
fn what_differs_from_run_to_run() {
    use super::super::Unsteady::{Clock, Host, Process, Random, System};
    let place = Place::new();
    for (body, expected) in [
        ("struct timespec t; clock_gettime(CLOCK_REALTIME, &t)", Some(Clock)),
        ("struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t)", None),
        ("struct timespec t; syscall(SYS_clock_gettime, 0, &t)", Some(Clock)),
        ("struct timeval t; gettimeofday(&t, 0)", Some(Clock)),
        ("clock()", Some(Clock)),
        ("char c[4]; getrandom(c, 4, 0)", Some(Random)),
        ("char c[4]; syscall(SYS_getrandom, c, 4, 0)", Some(Random)),
        ("open(\"/dev/urandom\", O_RDONLY)", Some(Random)),
        ("open(\"/dev/null\", O_RDWR)", None),
        ("open(\"/proc/mounts\", O_RDONLY)", None),
        ("char n[] = \"XXXXXX\"; close(mkstemp(n)); unlink(n)", None),
        ("getpid()", Some(Process)),
        ("char c[9]; readlink(\"/proc/self\", c, 9)", Some(Process)),
        ("struct sysinfo i; sysinfo(&i)", Some(System)),
        ("struct statfs i; statfs(\".\", &i)", Some(System)),
        ("open(\"/proc/uptime\", O_RDONLY)", Some(System)),
        ("struct utsname n; uname(&n)", Some(Host)),
    ] {
        let what = place.observe_c(body);
        let expected: Vec<_> = expected.into_iter().map(|is| (is, place.path("p"))).collect();
        assert_eq!(what.unsteady.into_iter().collect::<Vec<_>>(), expected, "{body}");
    }
}

/// Nothing of ours is in the environment, yet every program reports in, by any means that it is started.
#[test]
fn environment_as_without_us() {
    let place = Place::new();
    place.write("f", "x");
    let shows = "extern char **environ; for (char **e = environ; *e; e++)\
        if (!strncmp(*e, \"LD_PRELOAD=\", 11) || !strncmp(*e, \"IBID_OBSERVED=\", 14)) return 1;";
    for start in [
        "return system(\"cat f\")",
        "return pclose(popen(\"cat f >&2\", \"r\"))",
        "execlp(\"cat\", \"cat\", \"f\", (char *)0); return 2",
        "char *e[] = {0}; execle(\"/bin/cat\", \"cat\", \"f\", (char *)0, e); return 2",
        "int s; if (!vfork()) { execlp(\"cat\", \"cat\", \"f\", (char *)0); _exit(2); } wait(&s); return s",
    ] {
        let what = place.observe_c(&format!("{shows} {start}"));
        assert!(what.reads("f"), "{start}");
    }
}

#[test]
fn what_fails_for_want_of_something() {
    let place = Place::new();
    let limit = "struct rlimit few = { 3, 9 }; setrlimit(RLIMIT_NOFILE, &few);";
    let open = "fopen(\"p.c\", \"r\")";
    assert!(!has(&place.observe_c(open), Fact::UnrepeatableInput));
    let what = place.observe_c(&format!("{limit} {open}"));
    assert!(has(&what, Fact::UnrepeatableInput), "{:?}", what.facts);
}
