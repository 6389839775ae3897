//! What was found out about a tool in one run and holds in others: for which runs, how long, and what one odd run changes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::fs::{CWD, Mode, mkfifoat};

use crate::cache::{Cache, Outcome};
use crate::call::{Call, Through};
use crate::project::Project;
use crate::rustc::toolchain;
use crate::tools;

/// The tools, a library that each of them wants, and a command.
const TOOLS: [(&str, &str, &str); 3] = [
    ("gcc", "libzstd.so.1", "gcc -c a.c -o a.o"),
    ("clang", "libLLVM-14.so.1", "clang -c a.c -o a.o"),
    ("rustc", "libz.so.1", "rustc --crate-type lib a.rs -o a.rlib"),
];

/// Values of the loader's variables in which the working directory is searched.
const SEARCHES: [(&str, &str); 8] = [
    ("LD_LIBRARY_PATH", ":/opt/none"),
    ("LD_LIBRARY_PATH", "/opt/none::/opt/nothing"),
    ("LD_LIBRARY_PATH", "/opt/none:"),
    ("LD_LIBRARY_PATH", "/opt/none;."),
    ("LD_LIBRARY_PATH", "/opt/none;;{root}/none"),
    ("LD_LIBRARY_PATH", "below/.."),
    ("LD_LIBRARY_PATH", "{root}/none:{root}"),
    ("LD_PRELOAD", "libnone-of-ours.so"),
];

/// A project and a command in it by which the tool's own program is called.
fn project_of(tool: &str, line: &str) -> Option<(Project, String)> {
    let files = [("a.c", "int a;\n"), ("b.c", "int b;\n"), ("a.rs", ""), ("below/x", "")];
    if tool != "rustc" {
        return tools::have(tool).then(|| (Project::with(&files), line.to_owned()));
    }
    let rustc = toolchain()?.join("rustc");
    let line = line.replace("rustc ", &format!("{} ", rustc.display()));
    Some((Project::with(&files), line))
}

fn call<'t>(project: &'t Project, cache: &'t Cache, line: &str, with: (&str, &str)) -> Call<'t> {
    let root = project.path().to_str().unwrap();
    project.call(cache, line).env(with.0, with.1.replace("{root}", root))
}

/// Something appears where the loader looks: what hit must miss, whether the tool was watched under this variable or
/// without it.
#[test]
fn where_the_loader_looks() {
    for (tool, library, line) in TOOLS {
        for with in SEARCHES {
            for is_trusted_first in [false, true] {
                let Some((project, line)) = project_of(tool, line) else { continue };
                let cache = Cache::new();
                if is_trusted_first {
                    project.call(&cache, &line).check().expect(&Outcome::Miss);
                }
                let call = call(&project, &cache, &line, with);
                let what = format!("{tool} {with:?}, trusted first: {is_trusted_first}");
                let first = call.check();
                assert_eq!(first.outcome, Outcome::Miss, "{what}");
                assert!(call.check().outcome.is_hit(), "{what}");
                // The search of the preloaded object is another one; it is not found beside us.
                let name =
                    if with.0 == "LD_PRELOAD" { "/usr/lib/libnone-of-ours.so" } else { library };
                if with.0 == "LD_PRELOAD" {
                    if !tools::is_root() {
                        continue;
                    }
                    let _own = OwnFile(PathBuf::from(name));
                    fs::write(name, "junk\n").unwrap();
                    let seen = call.check();
                    assert!(!seen.outcome.is_hit(), "{what}: {:?}", seen.done);
                } else {
                    project.write(name, "junk\n");
                    let seen = call.check();
                    assert!(!seen.outcome.is_hit() && seen.done.code != Some(0), "{what}");
                    project.remove(name);
                }
                assert!(call.check().outcome.is_hit(), "{what}, after the change");
                trusted(&cache, &what);
            }
        }
    }
}

/// Removed at the end.
struct OwnFile(PathBuf);

impl Drop for OwnFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// No program is watched at a price, and `doctor` says so.
#[track_caller]
fn trusted(cache: &Cache, what: &str) {
    let found = cache.say(&["doctor", "-v", "--quick"]);
    let slow = found.lines().find(|line| line.contains("misses take longer"));
    assert_eq!(slow, None, "{what}");
}

/// Other variables of the loader: what it prints, or does not do, is part of the result.
#[test]
fn what_else_the_loader_is_told() {
    let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a;\n")]));
    let line = "gcc -c a.c -o a.o";
    project.call(&cache, line).check().expect(&Outcome::Miss);
    for (name, value) in [
        ("LD_TRACE_LOADED_OBJECTS", "1"),
        ("LD_SHOW_AUXV", "1"),
        ("LD_PROFILE", "libc.so.6"),
        ("LD_BIND_NOW", "1"),
        ("LD_AUDIT", "/opt/none.so"),
        ("LD_ANYTHING", "1"),
    ] {
        let call = project.call(&cache, line).env(name, value);
        let done = call.env("LC_ALL", "C");
        if name == "LD_SHOW_AUXV" || name == "LD_TRACE_LOADED_OBJECTS" {
            // Addresses are drawn anew for each process: only that it is not served is compared.
            let hits = cache.count(|| {
                let mut ibid = cache.ibid(line.split(' '));
                assert!(
                    ibid.env(name, value).current_dir(project.path()).status().unwrap().success()
                );
            });
            assert_eq!(hits.hits(), 0, "{name}");
            continue;
        }
        let seen = done.check();
        assert!(!seen.outcome.is_hit(), "{name}");
    }
    project.call(&cache, line).check().expect(&Outcome::InvocationHit);
}

/// A job server's pipe may have any name.
#[test]
fn named_job_servers() {
    let Some(bin) = toolchain() else { return };
    let rustc = bin.join("rustc");
    for variable in ["MAKEFLAGS", "CARGO_MAKEFLAGS"] {
        let (cache, project) = (Cache::new(), Project::with(&[("a.rs", ""), ("b.rs", "")]));
        let pool = project.at("pool");
        mkfifoat(CWD, &pool, Mode::RUSR | Mode::WUSR).unwrap();
        let _held = fs::File::options().read(true).write(true).open(&pool).unwrap();
        let flags = format!("-j4 --jobserver-auth=fifo:{}", pool.display());
        let run = |name: &str, flags: &str| {
            let mut ibid = cache.ibid([rustc.as_os_str()]);
            ibid.args(["--crate-type", "lib", name, "-o"]).arg(format!("lib{name}.rlib"));
            if !flags.is_empty() {
                ibid.env(variable, flags);
            }
            std::thread::sleep(std::time::Duration::from_millis(60));
            let counted = cache.count(|| {
                let done = ibid.current_dir(project.path()).output().unwrap();
                assert!(done.status.success(), "{done:?}");
            });
            counted.outcome()
        };
        assert_eq!(run("a.rs", &flags), Outcome::Miss, "{variable}");
        assert!(run("a.rs", &flags).is_hit());
        assert_eq!(run("b.rs", ""), Outcome::Miss, "{variable}");
        trusted(&cache, variable);
    }
}

/// A macro runs a program that has not been watched yet, in one crate of many: that crate is watched when it comes again,
/// whatever is compiled in between.
#[test]
fn programs_that_macros_run() {
    let body = "let cargo = std::process::Command::new(CARGO).args([\"locate-project\", \"--message-format=plain\"])\
        .stdin(std::process::Stdio::null()).output().unwrap(); assert!(cargo.status.success(), \"{cargo:?}\"); String::from_utf8(cargo.stdout).unwrap()";
    let Some(bin) = toolchain().filter(|bin| bin.join("cargo").is_file()) else { return };
    let body = body.replace("CARGO", &format!("{:?}", bin.join("cargo").to_str().unwrap()));
    let Some(scene) = crate::rustc::Scene::with_macro(&body, crate::rustc::SHOWS_MACRO) else {
        return;
    };
    scene.project.write("Cargo.toml", "[package]\nname = \"a\"\n");
    scene.project.write("src/lib.rs", "");
    let plain = |name: &str| {
        scene.project.write(name, "");
        let line = format!("{} --edition 2021 --crate-type lib {name} -o lib.rlib", scene.tool);
        let seen = scene.project.call(&scene.cache, &line).check();
        assert!(seen.outcome.is_miss());
    };
    plain("b.rs");
    let mut outcomes = Vec::new();
    for name in ["c.rs", "d.rs", "e.rs"] {
        outcomes.push(scene.call().check().outcome);
        plain(name);
    }
    assert!(
        scene.call().check().outcome.is_hit(),
        "{outcomes:?}\n{}",
        scene.cache.say(&["doctor", "-v", "--quick"])
    );
}

/// A library of mold's looks for others in vain, in a process that it has forked.
#[test]
fn libraries_that_are_looked_for_later() {
    let Some(bin) = toolchain().filter(|_| tools::have("mold") && tools::have("gcc")) else {
        return;
    };
    let (cache, project) = (Cache::new(), Project::with(&[("a.rs", "fn main() {}\n")]));
    project.mkdir("libraries");
    let line = format!("{} -C link-arg=-fuse-ld=mold a.rs", bin.join("rustc").display());
    let call = project.call(&cache, &line).env("LD_LIBRARY_PATH", project.at("libraries"));
    call.check().expect_miss();
    trusted(&cache, "mold");
    assert_ne!(call.check().outcome, Outcome::NotStored("used_time".to_owned()));
}

/// Devices are on a path, too.
#[test]
fn looks_at_devices() {
    for line in [
        "g++ -fsyntax-only -x c++ a.c",
        "gcc -c a.c -o a.o -MD -MF /dev/null",
        "gcc -x c -c /dev/null -o a.o",
        "gcc -include /dev/null -c a.c -o a.o",
        "readlink -f /dev/null",
        "realpath /dev/null /dev/zero",
    ] {
        let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a;\n")]));
        if !tools::have(line.split(' ').next().unwrap()) {
            continue;
        }
        project.call(&cache, line).through(Through::Exec).check();
        trusted(&cache, line);
    }
}

/// It reads `in` by libc, and `odd/in`, if it was asked to, by a system call that libc does not see.
const ODD: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>
static long call(long n, long a, long b, long c, long d) {
    long r; register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(r) : "0"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return r;
}
int main(int argc, char **argv) {
    char text[100] = ""; long len = 0;
    FILE *in = fopen("in", "r"), *out = fopen("out", "w");
    if (!in || !out) return 1;
    fprintf(out, "%d", fgetc(in));
    if (argc > 1 && !strcmp(argv[1], "-odd")) {
        long fd = call(SYS_openat, AT_FDCWD, (long)"odd/in", 0, 0);
        len = call(SYS_read, fd, (long)text, 99, 0);
        call(SYS_close, fd, 0, 0, 0);
    }
    fprintf(out, "%.*s\n", (int)len, text);
    return fclose(out) || fclose(in);
}
"#;

/// A tool that does in some runs what the shim does not see.
struct Odd {
    cache: Cache,
    project: Project,
}

impl Odd {
    fn new() -> Option<Odd> {
        if !tools::have("gcc") || !cfg!(target_arch = "x86_64") {
            return None;
        }
        let files = [("in", "text\n"), ("odd/in", "text\n"), ("odd.c", ODD)];
        let (cache, project) = (Cache::new(), Project::with(&files));
        let mut gcc = Command::new("gcc");
        gcc.args(["odd.c", "-o", "tool"]).current_dir(project.path());
        assert!(gcc.status().unwrap().success());
        let odd = Odd { cache, project };
        let probe =
            odd.doctor().lines().any(|line| line.starts_with("ok    observer         seccomp"));
        probe.then_some(odd)
    }

    fn call(&self, line: &str) -> Outcome {
        self.project.call(&self.cache, line).through(Through::Exec).check().outcome
    }

    fn doctor(&self) -> String {
        self.cache.say(&["doctor", "-v", "--quick"])
    }

    fn distrust(&self) -> Option<String> {
        self.doctor().lines().find(|line| line.contains("misses take longer")).map(str::to_owned)
    }
}

/// One odd run is no reason to watch all others.
#[test]
fn one_odd_run() {
    let Some(odd) = Odd::new() else { return };
    assert!(!odd.call("./tool -odd").is_hit());
    assert!(
        odd.distrust().is_some_and(|line| line.starts_with("warn") && line.contains("ibid clear"))
    );
    assert!(odd.call("./tool 1").is_miss());
    assert!(odd.call("./tool 1").is_miss() || odd.call("./tool 1").is_hit());
    assert!(odd.call("./tool 1").is_hit());
    odd.project.write("in", "other\n");
    assert!(odd.call("./tool 1").is_miss());
    assert!(odd.call("./tool 1").is_hit());
    // The odd ones are watched, and their results are right.
    for text in ["1\n", "2\n", "3\n"] {
        odd.project.write("odd/in", text);
        for _ in 0..3 {
            odd.call("./tool -odd");
        }
        assert!(odd.call("./tool 1").is_hit());
    }
    assert!(odd.call("./tool -odd").is_hit());
    assert!(odd.doctor().contains("(some commands) by"));
    odd.cache.say(&["clear"]);
    assert_eq!(odd.distrust(), None);
}

/// What was found out is about a file.
#[test]
fn distrust_ends_with_the_image() {
    let Some(odd) = Odd::new() else { return };
    for _ in 0..3 {
        odd.call("./tool -odd");
    }
    assert!(odd.call("./tool -odd").is_hit());
    assert!(odd.distrust().is_some());
    let mut gcc = Command::new("gcc");
    gcc.args(["odd.c", "-O1", "-o", "tool"]).current_dir(odd.project.path());
    assert!(gcc.status().unwrap().success());
    assert_eq!(odd.distrust(), None);
}

/// A plugin's code is the tool's: what it does is watched before a result is kept.
#[test]
fn code_that_comes_later() {
    let Some(odd) = Odd::new() else { return };
    let host = "#include <dlfcn.h>\n#include <stdio.h>\nint main(int c, char **v) { FILE *f = fopen(\"out\", \"w\");\
        if (c > 1) { void *p = dlopen(v[1], RTLD_NOW); if (!p) return 2; ((void (*)(FILE *))dlsym(p, \"work\"))(f); }\
        return fclose(f); }\n";
    let plugin = ODD.split("int main").next().unwrap().to_owned()
        + "void work(FILE *out) { char t[99]; long fd = call(SYS_openat, AT_FDCWD, (long)\"odd/in\", 0, 0);\
           long n = call(SYS_read, fd, (long)t, 99, 0); call(SYS_close, fd, 0, 0, 0); fprintf(out, \"%.*s\", (int)n, t); }\n";
    odd.project.write("host.c", host);
    odd.project.write("plugin.c", plugin);
    odd.project.shell(&odd.cache, "gcc host.c -o tool && gcc -shared -fPIC plugin.c -o plugin.so");
    assert!(odd.call("./tool").is_miss());
    odd.call("./tool");
    assert!(odd.call("./tool").is_hit());
    for text in ["1\n", "2\n", "3\n"] {
        odd.project.write("odd/in", text);
        for _ in 0..2 {
            odd.call("./tool ./plugin.so");
        }
    }
}

/// Locale, conversions, few descriptors: what was found out without them is not taken for granted with them.
#[test]
fn other_circumstances() {
    for tool in tools::present(&["gcc", "clang"]) {
        let project = Project::with(&[("a.c", "char *s = \"x\";\n"), ("below/x", "")]);
        let cache = Cache::new();
        let line = format!("{tool} -c a.c -o a.o");
        project.call(&cache, &line).check().expect(&Outcome::Miss);
        let root = project.path().to_str().unwrap();
        for (name, value) in [
            ("LC_ALL", "de_DE.ISO-8859-1"),
            ("LC_ALL", "C.UTF-8"),
            ("LOCPATH", "{root}/locales"),
            ("GCONV_PATH", "{root}/below:relative"),
            ("LANGUAGE", "de:fr"),
            ("TZ", "UTC"),
        ] {
            let what = format!("{tool} {name}={value}");
            let call = project.call(&cache, &line).env(name, value.replace("{root}", root));
            call.check();
            assert!(call.check().outcome.is_hit(), "{what}");
            trusted(&cache, &what);
        }
        for limit in ["ulimit -n 20", "ulimit -s 1024", "ulimit -c 0"] {
            project.write("a.c", format!("char *s = \"{limit}\";\n"));
            let call = project.call(&cache, &line).after(limit);
            call.check().expect(&Outcome::Miss);
            call.check().expect_hit();
        }
    }
}

/// Conversions that appear after a hit.
#[test]
fn conversions_appear() {
    if !tools::have("gcc") {
        return;
    }
    for is_trusted_first in [false, true] {
        let (cache, project) = (Cache::new(), Project::with(&[("a.c", "char *s = \"x\";\n")]));
        if is_trusted_first {
            project.call(&cache, "gcc -c a.c -o b.o").check().expect(&Outcome::Miss);
        }
        project.mkdir("conversions");
        let call = project
            .call(&cache, "gcc -finput-charset=IBID-OWN -c a.c -o a.o")
            .env("GCONV_PATH", project.at("conversions"));
        call.check().expect(&Outcome::ToolFailure);
        let call = project
            .call(&cache, "gcc -finput-charset=ISO-8859-1 -c a.c -o a.o")
            .env("GCONV_PATH", project.at("conversions"));
        call.check();
        call.check();
        assert!(call.check().outcome.is_hit());
        project.write("conversions/gconv-modules", "alias ISO8859-1// NOWHERE//\nmodule NOWHERE// INTERNAL none 1\nmodule INTERNAL NOWHERE// none 1\nalias ISO-8859-1// NOWHERE//\n");
        let seen = call.check();
        assert!(!seen.outcome.is_hit(), "{:?}", seen.done);
    }
}

/// A directory in which nothing can be looked for.
#[test]
fn a_working_directory_that_cannot_be_searched() {
    if !tools::is_root() || !tools::have("setpriv") || !tools::have("gcc") {
        return;
    }
    for is_trusted_first in [false, true] {
        let (cache, project) =
            (Cache::new(), Project::with(&[("a.c", "int a;\n"), ("closed/x", "")]));
        for path in [
            cache.root(),
            &cache.root().join("home"),
            &cache.root().join("runtime"),
            project.path(),
            &project.at("closed"),
        ] {
            std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
        }
        let source = project.at("a.c");
        let line = format!("gcc -c {} -o {}", source.display(), project.at("a.o").display());
        let run = |is_closed: bool| {
            let mode = if is_closed { "a-x" } else { "u+x" };
            let ibid = tools::ibid().display();
            let script = format!(
                "chmod {mode} . && LD_LIBRARY_PATH=/opt/none: {ibid} {line}; code=$?; chmod u+x {}; exit $code",
                project.at("closed").display()
            );
            let mut setpriv = cache.command("setpriv");
            setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", &script]);
            let counted = cache.count(|| {
                let done = setpriv.current_dir(project.at("closed")).output().unwrap();
                assert!(done.status.success(), "{done:?}");
            });
            counted.outcomes()
        };
        if is_trusted_first {
            run(false);
        }
        for _ in 0..3 {
            assert!(run(true) <= 1);
        }
    }
}
