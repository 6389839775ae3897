//! The preload observer on real tools.

#![allow(clippy::disallowed_methods, reason = "tests start tools themselves")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use super::preload::Preload;
use super::{Fact, Made, Observation};

mod rules;
mod search;
mod watched;

/// A directory of its own with a cache directory in it; the tool runs in `work`.
struct Place {
    directory: tempfile::TempDir,
    /// Whether the shim is a file although it could be memory.
    on_disk: std::cell::Cell<bool>,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("cache")).expect("a fresh directory");
        fs::create_dir(directory.path().join("work")).expect("a fresh directory");
        Place { directory, on_disk: std::cell::Cell::new(false) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("work").join(name).components().collect()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below the directory")).expect("a directory");
        fs::write(&path, text).expect("a file");
        path
    }

    fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    /// Runs words as a command, unobserved; it must succeed.
    fn run(&self, words: &str) {
        self.run_args(&words.split_whitespace().collect::<Vec<_>>());
    }

    fn run_args(&self, words: &[&str]) {
        let status = Command::new(words[0]).args(&words[1..]).current_dir(self.path("")).status();
        assert!(status.expect("it starts").success());
    }

    fn observe(&self, words: &str) -> Seen {
        self.observe_args(&words.split_whitespace().collect::<Vec<_>>())
    }

    fn observe_args(&self, words: &[&str]) -> Seen {
        self.observe_with(words, |_| {})
    }

    fn observe_with(&self, words: &[&str], change: impl FnOnce(&mut Command)) -> Seen {
        let prepare =
            if self.on_disk.get() { Preload::prepare_on_disk } else { Preload::prepare_in };
        let mut preload = prepare(&self.cache(), &self.path(".")).expect("a place for the shim");
        let tool = if words[0].starts_with("./") { self.path(words[0]) } else { find(words[0]) };
        preload.check(&tool);
        let mut command = Command::new(&tool);
        command.args(&words[1..]).current_dir(self.path("")).envs(preload.environment());
        change(&mut command);
        let output = command.output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Seen { status: output.status, stdout: output.stdout, stderr, what: preload.finish() }
    }
}

fn find(tool: &str) -> PathBuf {
    if tool.contains('/') {
        return tool.into();
    }
    let path = crate::env::get("PATH").expect("PATH");
    std::env::split_paths(&path).map(|d| d.join(tool)).find(|p| p.is_file()).expect("installed")
}

struct Seen {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: String,
    what: Observation,
}

impl Seen {
    /// The run went well and everything was seen.
    fn whole(self) -> Observation {
        assert!(self.status.success(), "{}", self.stderr);
        assert_eq!(self.what.incomplete, None);
        self.what
    }
}

impl Observation {
    fn reads(&self, path: impl AsRef<Path>) -> bool {
        self.inputs.iter().any(|input| input.path == path.as_ref())
    }

    fn misses(&self, path: impl AsRef<Path>) -> bool {
        self.absences.iter().any(|absence| absence.path == path.as_ref())
    }

    fn asks(&self, name: &str) -> bool {
        self.variables.contains(&OsString::from(name))
    }

    fn output_names(&self) -> Vec<&str> {
        self.outputs.iter().filter_map(|output| output.path.to_str()).collect()
    }
}

#[test]
fn gcc_compile() {
    let place = Place::new();
    place.write("inc/b.h", "int b;\n");
    place.write("a.c", "#include <stdio.h>\n#include \"b.h\"\nint main(void) { return b; }\n");
    let what = place.observe("gcc -O1 -Imissing -Iinc -c a.c -o a.o").whole();
    assert!(what.reads("a.c") && what.reads("inc/b.h") && what.reads("/usr/include/stdio.h"));
    assert!(what.misses("b.h"));
    assert!(what.asks("CPATH") && what.asks("C_INCLUDE_PATH"));
    assert_eq!(what.output_names(), ["a.o"]);
    assert_eq!(what.outputs[0].how, Made::Created);
    assert_eq!(what.outputs[0].create_mode, 0o666);
    assert!(!what.outputs[0].existed_before);
    assert!(what.facts.iter().all(|fact| *fact == Fact::Locale), "{:?}", what.facts);
    assert!(what.images.iter().any(|image| image.ends_with("cc1")));
    let again = place.observe("gcc -O1 -Imissing -Iinc -c a.c -o a.o").whole();
    assert!(again.outputs[0].existed_before);
}

/// What a run opened with success, and looked for in vain, by strace; regular files of its own making left out.
fn by_strace(place: &Place, words: &str) -> (BTreeSet<PathBuf>, BTreeSet<PathBuf>) {
    let trace = place.directory.path().join("strace.txt");
    let (tool, args) = words.split_once(' ').expect("a tool with arguments");
    let words = format!("{} {args}", find(tool).display());
    let words = format!(
        "strace -f -qq -s 4096 -e trace=open,openat,stat,lstat,newfstatat,access,readlink,execve -o {} {words}",
        trace.display()
    );
    place.run(&words);
    let (mut opened, mut missed) = (BTreeSet::new(), BTreeSet::new());
    for line in fs::read_to_string(&trace).expect("strace's output").lines() {
        let Some(path) = line.split('"').nth(1) else { continue };
        let path = place.path("").join(path).components().collect::<PathBuf>();
        if path == place.path("") || path.starts_with("/proc") || path.starts_with("/dev") {
            continue;
        }
        if line.contains("ENOENT") || line.contains("ENOTDIR") {
            missed.insert(without_parents(&path));
        } else if line.contains("openat(") && line.contains("O_RDONLY") && !line.contains("= -1") {
            opened.insert(path);
        }
    }
    (opened, missed)
}

/// `a/../b` as `b`, which is what `realpath` asks for where `a` is no symlink.
fn without_parents(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut whole, part| {
        match part {
            std::path::Component::ParentDir => drop(whole.pop()),
            other => whole.push(other),
        }
        whole
    })
}

/// The observation has all that strace saw; listed by kind, what it lacks.
fn compare_with_strace(place: &Place, words: &str) {
    let what = place.observe(words).whole();
    let absolute = |path: &Path| place.path("").join(path).components().collect::<PathBuf>();
    let own: BTreeSet<PathBuf> = what.outputs.iter().map(|output| absolute(&output.path)).collect();
    let mut known: BTreeSet<PathBuf> =
        what.inputs.iter().map(|input| absolute(&input.path)).collect();
    known.extend(what.existing.iter().map(|path| absolute(path)));
    known.extend(what.listings.iter().map(|path| absolute(path)));
    let absent: BTreeSet<PathBuf> =
        what.absences.iter().map(|a| without_parents(&absolute(&a.path))).collect();
    let (opened, missed) = by_strace(place, words);
    let is_temporary =
        |path: &PathBuf| path.starts_with("/tmp") && !path.starts_with(place.path(""));
    let (opened, gone): (BTreeSet<_>, BTreeSet<_>) =
        opened.into_iter().partition(|path| path.exists());
    assert!(gone.iter().all(|path| path.starts_with("/tmp")), "{gone:?}");
    // A library under a variant's directory: the observation has the directory itself as absent. A directory that
    // `realpath` met on its way: the observation has what it was asked for.
    let is_covered = |path: &PathBuf| {
        path.ancestors().any(|above| absent.contains(above))
            || absent.iter().any(|below| below.starts_with(path))
    };
    let lacks = |all: BTreeSet<PathBuf>, has: &dyn Fn(&PathBuf) -> bool| {
        all.into_iter()
            .filter(|p| !has(p) && !own.contains(p) && !is_temporary(p))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        lacks(opened, &|path| known.contains(path)),
        Vec::<PathBuf>::new(),
        "{words}: opened"
    );
    assert_eq!(
        lacks(missed, &|path| is_covered(path) || known.contains(path)),
        Vec::<PathBuf>::new(),
        "{words}: missed"
    );
}

#[test]
fn same_as_strace() {
    let place = Place::new();
    place.write("inc/b.h", "int b;\n");
    place.write("a.c", "#include <stdio.h>\n#include \"b.h\"\nint main(void) { return b; }\n");
    place.write(
        "a.cc",
        "#include <vector>\n#include \"b.h\"\nint main() { std::vector<int> v; return b; }\n",
    );
    place.write("a.rs", "pub fn f() -> usize { std::env::args().count() }\n");
    compare_with_strace(&place, "gcc -O1 -g -Imissing -Iinc -c a.c -o a.o");
    compare_with_strace(&place, "g++ -Imissing -Iinc -MD -c a.cc -o b.o");
    compare_with_strace(&place, "clang -Imissing -Iinc -MD -c a.c -o c.o");
    compare_with_strace(&place, "clang++ -Imissing -Iinc -c a.cc -o d.o");
    compare_with_strace(&place, &format!("{} --crate-type rlib a.rs -o e.rlib", rustc().display()));
}

/// The compiler itself, past rustup.
fn rustc() -> PathBuf {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc");
    Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("bin/rustc")
}

#[test]
fn time_and_file_times() {
    let place = Place::new();
    place.write("date.c", "const char *d = __DATE__;\n");
    place.write("stamp.c", "const char *d = __TIMESTAMP__;\n");
    place.write("plain.c", "int d;\n");
    for tool in ["gcc", "clang"] {
        let date = place.observe(&format!("{tool} -c date.c -o a.o")).whole();
        assert!(date.facts.contains(&Fact::Time), "{tool}");
        assert!(tool != "gcc" || date.asks("SOURCE_DATE_EPOCH"));
        let stamp = place.observe(&format!("{tool} -c stamp.c -o b.o")).whole();
        assert!(stamp.facts.contains(&Fact::LocalTime) && stamp.asks("TZ"), "{tool}");
        let plain = place.observe(&format!("{tool} -c plain.c -o c.o")).whole();
        assert!(
            !plain.facts.contains(&Fact::Time) && !plain.facts.contains(&Fact::LocalTime),
            "{tool}"
        );
    }
}

#[test]
fn rustc_crate() {
    let place = Place::new();
    place.write("lib.rs", "mod sub;\npub const T: &str = include_str!(\"t.txt\");\npub const E: Option<&str> = option_env!(\"SOME_NAME\");\n");
    place.write("sub.rs", "");
    place.write("t.txt", "text");
    let words = format!(
        "{} --crate-type rlib --emit link,metadata,dep-info lib.rs --out-dir out",
        rustc().display()
    );
    fs::create_dir(place.path("out")).expect("a directory");
    let what = place.observe(&words).whole();
    assert!(what.reads("lib.rs") && what.reads("sub.rs"), "{:?}", what.inputs);
    assert!(what.reads("t.txt") && what.misses("sub/mod.rs"));
    assert!(what.asks("SOME_NAME"));
    let mut names = what.output_names();
    names.sort_unstable();
    assert_eq!(names, ["out/lib.d", "out/liblib.rlib", "out/liblib.rmeta"]);
    assert!(!what.facts.contains(&Fact::SideEffect), "{:?}", what.facts);
}

#[test]
fn scrubbed_environment_and_directories() {
    let place = Place::new();
    place.write("f", "x");
    place.write("d/g", "y");
    let what = place
        .observe_args(&["env", "-i", "/bin/sh", "-c", "cat f; cd d; cat g; exec cat g"])
        .whole();
    assert!(what.reads("f"));
    assert!(what.reads(place.path("d/g")));
    assert!(what.images.iter().any(|image| image.ends_with("cat")), "{:?}", what.images);
}

#[test]
fn path_search() {
    let place = Place::new();
    place.write("f", "x");
    let what = place.observe_with(&["env", "cat", "f"], |command| {
        command.env("PATH", "/nowhere:/usr/bin:/bin");
    });
    let what = what.whole();
    assert!(what.path_searches.contains(std::ffi::OsStr::new("cat")));
    assert!(what.misses("/nowhere/cat") && what.reads("/usr/bin/cat"));
}

const EXEC_CHAIN: &str = r#"
#define _GNU_SOURCE
#include <unistd.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>
#include <sys/wait.h>
extern char **environ;
static void *thread(void *name) { FILE *f = fopen(name, "r"); fclose(f); return 0; }
int main(int argc, char **argv) {
    if (argc > 1) {
        char *env[] = {"A=1", NULL};
        switch (argv[1][0]) {
        case '1': execl(argv[0], argv[0], "2", NULL); break;
        case '2': execle(argv[0], argv[0], "3", "x", "x", "x", "x", "x", "x", NULL, env); break;
        case '3': execlp("cat", "cat", "a", "b", "c", "d", "e", NULL); break;
        }
        return 9;
    }
    pid_t pid = vfork();
    if (pid == 0) { execl(argv[0], argv[0], "1", NULL); _exit(1); }
    int status;
    waitpid(pid, &status, 0);
    if (status) return 1;
    char *args[] = {"cat", "f", NULL};
    if (posix_spawnp(&pid, "cat", NULL, NULL, args, environ)) return 2;
    waitpid(pid, &status, 0);
    if (status || system("cat g")) return 3;
    FILE *p = popen("cat h", "r");
    if (getc(p) != 'h' || pclose(p)) return 4;
    pthread_t t[4];
    char *names[] = {"t0", "t1", "t2", "t3"};
    for (int i = 0; i < 4; i++) pthread_create(&t[i], 0, thread, names[i]);
    for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
    return 0;
}
"#;

/// Builds `chain` and the files that it reads; their names.
fn exec_chain(place: &Place) -> [&'static str; 12] {
    place.write("chain.c", EXEC_CHAIN);
    place.run("gcc -pthread -w chain.c -o chain");
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "t0", "t1", "t2", "t3"];
    for name in names {
        place.write(name, name);
    }
    names
}

#[test]
fn exec_chain_spawn_and_threads() {
    let place = Place::new();
    let names = exec_chain(&place);
    let seen = place.observe("./chain");
    assert_eq!(String::from_utf8_lossy(&seen.stdout), "abcdefg");
    let what = seen.whole();
    for name in names {
        assert!(what.reads(name), "{name}");
    }
}

#[test]
fn static_program() {
    let place = Place::new();
    place.write("s.c", "int main(void) { return 0; }\n");
    place.run("gcc -static s.c -o s");
    let seen = place.observe("./s");
    assert!(seen.status.success());
    assert!(seen.what.incomplete.is_some_and(|reason| reason.contains("is static")));
    let child = place.observe_args(&["sh", "-c", "./s; true"]);
    assert!(child.status.success());
    assert!(child.what.incomplete.is_some_and(|reason| reason.contains("is static")));
}

#[test]
fn sanitized_program() {
    let place = Place::new();
    place.write("s.c", "int main(void) { return 0; }\n");
    place.run("gcc -fsanitize=address s.c -o shared");
    place.run("gcc -fsanitize=address -static-libasan -rdynamic s.c -o linked");
    for program in ["./shared", "./linked"] {
        let seen = place.observe_args(&["sh", "-c", program]);
        assert!(seen.status.success(), "{program}: {}", seen.stderr);
        assert!(
            seen.what.incomplete.is_some_and(|reason| reason.contains("sanitizer")),
            "{program}"
        );
    }
}

#[test]
fn outputs() {
    let place = Place::new();
    place.write("old", "1");
    place.write("log", "1");
    place.write("gone", "1");
    let what = place.observe_args(&[
        "sh",
        "-c",
        "echo 2 > tmp; mv tmp new; echo 3 > old; echo 4 >> log; echo 5 > x; rm x",
    ]);
    let what = what.whole();
    assert_eq!(what.output_names(), ["new", "old", "log"]);
    let how: Vec<Made> = what.outputs.iter().map(|output| output.how).collect();
    assert_eq!(how, [Made::Renamed, Made::Truncated, Made::Modified]);
    for output in &what.outputs {
        let metadata = fs::metadata(place.path("").join(&output.path)).expect("it is there");
        let stat = output.stat.expect("its close was seen");
        assert_eq!(
            (stat.size, stat.ino),
            (metadata.len(), std::os::unix::fs::MetadataExt::ino(&metadata))
        );
    }
    assert!(!what.facts.contains(&Fact::SideEffect), "{:?}", what.facts);
    let removed = place.observe("rm gone").whole();
    assert!(removed.removed.iter().any(|it| it.was_there && it.path == Path::new("gone")));
    let modified = place.observe_args(&["sh", "-c", "cat log; echo 6 >> log"]).whole();
    assert!(modified.facts.contains(&Fact::InputModified));
}

#[test]
fn closed_descriptors_and_many_opens() {
    let place = Place::new();
    place.write("f", "x");
    let program = "import os\nos.closerange(0, 256)\nfor i in range(10000):\n  os.close(os.open('f', 0))\n  os.access(f'no{i}', 0)\n";
    place.write("p.py", program);
    let what = place.observe("/usr/bin/python3 p.py").whole();
    assert!(what.reads("f") && what.misses("no0") && what.misses("no9999"));
}

#[test]
fn killed_child() {
    let place = Place::new();
    let seen = place.observe_args(&["sh", "-c", "sleep 100 & kill -9 $!; wait; true"]);
    assert!(seen.status.success());
    // Killed before or after it became `sleep`: neither is the whole truth, unless it was killed as a bare fork.
    let seen = place.observe_args(&["sh", "-c", "sh -c 'kill -9 $$'; true"]);
    assert!(seen.what.incomplete.is_some_and(|reason| reason.contains("did not report")));
}

#[test]
fn damaged_shim_is_replaced() {
    let place = Place::new();
    drop(Preload::prepare_on_disk(&place.cache(), &place.path(".")).expect("a place"));
    let shim = fs::read_dir(place.cache())
        .expect("a directory")
        .next()
        .expect("a shim")
        .expect("a shim")
        .path();
    let good = fs::read(&shim).expect("a shim");
    let mut bad = good.clone();
    bad[100] ^= 1;
    fs::write(&shim, bad).expect("a file");
    drop(Preload::prepare_on_disk(&place.cache(), &place.path(".")).expect("a place"));
    assert_eq!(fs::read(&shim).expect("a shim"), good);
    let blank = place.directory.path().join("a b");
    fs::create_dir(&blank).expect("a directory");
    assert!(Preload::prepare_on_disk(&blank, &place.path(".")).is_err());
}
