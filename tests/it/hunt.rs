//! The hunt: random changes to random small projects, each followed by a command that is compared with the bare tool.
//!
//! A hunt goes on for some seconds; `IBID_HUNT_SECONDS` sets how many, `IBID_TEST_SEED` begins elsewhere. A failure tells
//! the seed and the steps that led to it. New kinds of changes, flags and contents are one line each.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::cache::Cache;
use crate::call::Through;
use crate::project::Project;
use crate::random::Random;
use crate::tools;

const SECONDS: u64 = 20;
const SECONDS_LONG: u64 = 600;

/// Where files lie, and what they are called: few, so that changes meet.
const DIRECTORIES: &[&str] = &["", "one/", "two/", "two/deep/", "three/"];
const HEADERS: &[&str] = &["a.h", "b.h", "deep/c.h", "data.bin"];
/// Contents of a header; those that differ in one digit have equal lengths.
const CONTENTS: &[&str] = &[
    "#define N 1\n",
    "#define N 2\n",
    "#define N 3\n",
    "#pragma once\nint NAME = 1;\n",
    "#pragma once\nint NAME = 2;\n",
    "int NAME = __LINE__;\n",
    "const char *NAME = __FILE__;\n",
    "#if __has_include(<b.h>)\n#include <b.h>\n#endif\n",
    "#if __has_include(\"deep/c.h\")\nint NAME = 7;\n#endif\n",
    "#ifndef DEEP\n#define DEEP\n#include \"deep/c.h\"\n#endif\n",
    "__asm__(\".data\\n.incbin \\\"data.bin\\\"\\n.text\\n\");\n",
    "#if __has_include_next(<a.h>)\n#include_next <a.h>\n#endif\n",
    "#warning 1\n",
    "#warning 2\n",
    "#error no\n",
    "",
];
const SOURCE: &str = "#define JOIN2(a, b) a##b\n#define JOIN(a, b) JOIN2(a, b)\n#define NAME JOIN(v, __COUNTER__)\n#ifndef N\n#define N 0\n#endif\n";
const BODIES: &[&str] = &[
    "#include \"a.h\"\nint f(void) { return N; }\n",
    "#include <a.h>\nint f(void) { return N; }\n",
    "#include \"a.h\"\n#include <b.h>\nint f(int p) { int q = p + N; return q; }\n",
    "#if __has_include(<deep/c.h>)\n#include <deep/c.h>\n#endif\n#include \"b.h\"\nint f(void) { return N; }\n",
];
const FLAGS: &[&str] = &[
    "-g",
    "-O2",
    "-I.",
    "-Ione",
    "-Itwo",
    "-Ithree",
    "-isystem two",
    "-iquote one",
    "-idirafter three",
    "-DN=4",
    "-UN",
    "-Wall",
    "-w",
    "-Werror",
    "-MMD",
    "-MD -MF x.d",
    "-MD -MP -MT t",
    "-include a.h",
    "-fPIC",
    "-S",
    "-gsplit-dwarf",
    "-fstack-usage",
    "-save-temps",
    "-Wa,-Itwo",
    "-ffile-prefix-map={root}=/r",
    "-fdebug-prefix-map={root}=/r",
    "--sysroot={root}/three",
    "-fdiagnostics-color=always",
];
const VARIABLES: &[(&str, &[&str])] = &[
    ("CPATH", &["two", "one:two", ""]),
    ("C_INCLUDE_PATH", &["three"]),
    ("CPLUS_INCLUDE_PATH", &["three"]),
    ("SOURCE_DATE_EPOCH", &["1", "2"]),
    ("LC_ALL", &["C", "C.UTF-8", "de_DE.UTF-8"]),
    ("LANG", &["C", "fr_FR"]),
    ("GCC_COLORS", &["", "error=01"]),
    ("TMPDIR", &["/tmp", "/nowhere"]),
    ("PWD", &["{root}", "/", "{root}/link"]),
    ("UNRELATED", &["x", "y"]),
    ("CCC_OVERRIDE_OPTIONS", &["+-g", "+-DN=5"]),
    ("DEPENDENCIES_OUTPUT", &["d.txt"]),
    ("COMPILER_PATH", &["one", "{root}/two"]),
    ("COLUMNS", &["40"]),
    ("LD_LIBRARY_PATH", &["/nowhere:", ":one", "two;one", "{root}/two", "one::/nowhere"]),
    ("LD_PRELOAD", &["libnone.so", "{root}/one/libnone.so"]),
    ("MAKEFLAGS", &["-j4 --jobserver-auth=fifo:/nowhere/fifo", "-j"]),
    ("GCONV_PATH", &["{root}/one"]),
];
/// Libraries that compilers load, and where the variables above lead.
const LIBRARIES: &[&str] = &["libzstd.so.1", "libz.so.1", "libLLVM-14.so.1", "libnone.so"];
/// Settings that change nothing in a result.
const SETTINGS: &[(&str, &[&str])] = &[
    ("max_size", &["1G", "2G"]),
    ("observer", &["preload", "seccomp"]),
    ("readonly", &["0", "1"]),
];
/// What others do with the same cache and tools in between.
const ODD_RUNS: &[&str] = &[
    "ibid exec -- TOOL -fsyntax-only -I. SOURCE",
    "ibid exec -- sh -c 'ls /dev'",
    "ibid exec -- sh -c 'TOOL --version; date'",
    "ibid TOOL -c nowhere.c",
    "mkfifo odd 2>/dev/null; MAKEFLAGS='-j2 --jobserver-auth=fifo:odd' ibid TOOL -I. -c SOURCE -o odd.o",
    "ibid TOOL -fuse-ld=mold -x c odd.c -o odd.out",
    "ibid gc; ibid doctor --quick",
    "ulimit -n 12; ibid TOOL -I. -c SOURCE -o odd.o",
    "LC_ALL=C.UTF-8 ibid TOOL -I. -Wall -c SOURCE -o odd.o",
];

/// A project, how its command is, and the steps that led to both.
struct Hunt {
    random: Random,
    cache: Cache,
    project: Project,
    source: &'static str,
    flags: Vec<String>,
    /// Below the project.
    cwd: &'static str,
    output: &'static str,
    environment: Vec<(String, Option<String>)>,
    umask: Option<u32>,
    steps: Steps,
}

/// What was done so far; told if the test fails.
struct Steps(String);

impl Steps {
    fn new(seed: u64) -> Steps {
        Steps(format!("the hunt with seed {seed} failed after these steps:"))
    }

    fn add(&mut self, step: &str) {
        write!(self.0, "\n{step}").unwrap();
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tools::say(&self.0);
        }
    }
}

impl Hunt {
    fn new(seed: u64, source: &'static str) -> Hunt {
        let mut hunt = Hunt {
            random: Random::new(seed),
            cache: Cache::new(),
            project: Project::new(),
            source,
            flags: vec!["-I.".to_owned(), "-Itwo".to_owned()],
            cwd: "",
            output: "m.o",
            environment: Vec::new(),
            umask: None,
            steps: Steps::new(seed),
        };
        hunt.project.write("a.h", CONTENTS[0]);
        hunt.project.write("two/b.h", CONTENTS[3]);
        hunt.project.write("data.bin", "1");
        hunt.project.symlink(".", "link");
        hunt.project.write("odd.c", "int main(void) { return 0; }\n");
        hunt.body();
        // Else the first commands are those that both observers watch.
        if hunt.random.chance(50) {
            hunt.odd_run();
        }
        hunt
    }

    fn step(&mut self, text: &str) {
        self.steps.add(text);
    }

    fn body(&mut self) {
        let body = *self.random.pick(BODIES);
        self.step(&format!("{}: {body:?}", self.source));
        let project = &self.project;
        clear(&project.at(self.source));
        project.write(self.source, format!("{SOURCE}{body}"));
    }

    /// A path that headers are looked for at.
    fn place(&mut self) -> String {
        let directory = *self.random.pick(DIRECTORIES);
        format!("{directory}{}", self.random.pick(HEADERS))
    }

    /// Changes one thing; not all changes are possible at all times.
    fn mutate(&mut self) {
        match self.random.below(24) {
            0..=4 => self.write(),
            5 => self.write_unnoticed(),
            6 => self.remove(),
            7 => self.rename(),
            8 => self.link(),
            9 => self.directory(),
            10..=11 => self.toggle_flag(),
            12 => self.variable(),
            13 => self.occupy_output(),
            14 => self.move_about(),
            15 => self.touch(),
            16 => self.body(),
            17 => self.library(),
            18 => self.setting(),
            19 => self.odd_run(),
            20 => self.forget_programs(),
            21 => self.interrupt(),
            22 => self.move_project(),
            _ => self.swap_directories(),
        }
    }

    fn write(&mut self) {
        let (place, content) = (self.place(), *self.random.pick(CONTENTS));
        self.step(&format!("write {place} {content:?}"));
        let path = self.project.at(&place);
        // In place or anew, through links or over them.
        let anew = self.random.chance(50);
        if anew || fs::write(&path, content).is_err() {
            make_way(self.project.path(), &place);
            clear(&path);
            fs::write(path, content).unwrap();
        }
    }

    fn write_unnoticed(&mut self) {
        let place = self.place();
        let Ok(old) = fs::read_to_string(self.project.at(&place)) else { return };
        let same_length: Vec<&str> =
            CONTENTS.iter().copied().filter(|new| new.len() == old.len() && *new != old).collect();
        if same_length.is_empty() {
            return;
        }
        let content = *self.random.pick(&same_length);
        self.step(&format!("write unnoticed {place} {content:?}"));
        self.project.write_unnoticed(&place, content);
    }

    fn touch(&mut self) {
        let place = self.place();
        if self.project.at(&place).is_file() {
            self.step(&format!("touch {place}"));
            self.project.touch(&place);
        }
    }

    fn remove(&mut self) {
        let place = self.place();
        self.step(&format!("remove {place}"));
        clear(&self.project.at(&place));
    }

    fn rename(&mut self) {
        let (from, to) = (self.place(), self.place());
        if from == to || self.project.at(&from).symlink_metadata().is_err() {
            return;
        }
        self.step(&format!("rename {from} {to}"));
        make_way(self.project.path(), &to);
        clear(&self.project.at(&to));
        // What had to make way may be what was to be renamed.
        let _ = fs::rename(self.project.at(&from), self.project.at(&to));
    }

    fn link(&mut self) {
        let (place, target) = (self.place(), self.place());
        if place == target {
            return;
        }
        let is_hard = self.random.chance(20);
        self.step(&format!("link {place} -> {target} hard: {is_hard}"));
        make_way(self.project.path(), &place);
        clear(&self.project.at(&place));
        let target = self.project.at(&target);
        if is_hard {
            let _ = fs::hard_link(target, self.project.at(&place));
        } else {
            std::os::unix::fs::symlink(target, self.project.at(&place)).unwrap();
        }
    }

    fn directory(&mut self) {
        let place = self.place();
        self.step(&format!("mkdir {place}"));
        make_way(self.project.path(), &place);
        clear(&self.project.at(&place));
        fs::create_dir(self.project.at(&place)).unwrap();
    }

    fn swap_directories(&mut self) {
        let names = ["one", "two", "three", "two/deep"];
        let (from, to) = (*self.random.pick(&names), *self.random.pick(&names));
        if from == to || !self.project.at(from).is_dir() {
            return;
        }
        self.step(&format!("swap {from} {to}"));
        let aside = self.project.at("aside");
        clear(&aside);
        if self.random.chance(30) {
            // A link in the directory's place, with the same files behind it.
            fs::rename(self.project.at(from), self.project.at("kept")).unwrap_or(());
            let _ = std::os::unix::fs::symlink("kept", self.project.at(from));
            return;
        }
        let _ = fs::rename(self.project.at(from), &aside);
        let _ = fs::rename(self.project.at(to), self.project.at(from));
        let _ = fs::rename(&aside, self.project.at(to));
    }

    fn toggle_flag(&mut self) {
        let root = self.project.path().to_str().unwrap();
        let flag = self.random.pick(FLAGS).replace("{root}", root);
        self.step(&format!("toggle {flag}"));
        if let Some(at) = self.flags.iter().position(|known| *known == flag) {
            self.flags.remove(at);
        } else {
            let at = self.random.below(self.flags.len() + 1);
            self.flags.insert(at, flag);
        }
        if self.flags.len() > 6 {
            self.flags.remove(0);
        }
    }

    fn variable(&mut self) {
        let (name, values) = self.random.pick(VARIABLES);
        let value =
            self.random.pick(values).replace("{root}", self.project.path().to_str().unwrap());
        let value = Some(value).filter(|_| self.random.chance(60));
        self.step(&format!("variable {name} {value:?}"));
        self.environment.retain(|(known, _)| known != name);
        self.environment.push(((*name).to_owned(), value));
    }

    fn occupy_output(&mut self) {
        let kind = self.random.below(6);
        self.step(&format!("output {kind}"));
        let path = self.project.at(self.cwd).join(self.output);
        clear(&path);
        match kind {
            0 => fs::write(path, "something else").unwrap(),
            1 => std::os::unix::fs::symlink("real.o", path).unwrap(),
            2 => {
                fs::write(&path, "read only").unwrap();
                self.project.chmod(path.to_str().unwrap(), 0o444);
            }
            3 => {
                fs::write(self.project.at("other"), "two names").unwrap();
                fs::hard_link(self.project.at("other"), path).unwrap();
            }
            4 => fs::create_dir(path).unwrap(),
            _ => {}
        }
    }

    /// On with a copy of the project in another directory; the old one goes.
    fn move_project(&mut self) {
        let longer = self.random.below(9);
        self.step(&format!("copy the project, name longer by {longer}"));
        self.project = self.project.copy(longer);
    }

    fn move_about(&mut self) {
        self.cwd = *self.random.pick(&["", "", "two", "link"]);
        self.output = *self.random.pick(&["m.o", "m.o", "other.o", "./m.o"]);
        self.umask = *self.random.pick(&[None, None, Some(0o77), Some(0o2)]);
        self.step(&format!("in {:?} to {} umask {:?}", self.cwd, self.output, self.umask));
    }

    /// Something that is no library, where one is looked for, or nothing there any longer.
    fn library(&mut self) {
        let directory = *self.random.pick(&["", "one/", "two/"]);
        let place = format!("{directory}{}", self.random.pick(LIBRARIES));
        let is_made = self.random.chance(50);
        self.step(&format!("library {place}, made: {is_made}"));
        clear(&self.project.at(&place));
        if is_made {
            make_way(self.project.path(), &place);
            fs::write(self.project.at(&place), "junk").unwrap();
        }
    }

    fn setting(&mut self) {
        let (key, values) = self.random.pick(SETTINGS);
        let value = *self.random.pick(values);
        self.step(&format!("config set {key} {value}"));
        self.cache.say(&["config", "set", key, value]);
    }

    /// Somebody else uses the cache in a way of his own; how that ends does not matter.
    fn odd_run(&mut self) {
        let tool = if self.source == "m.cc" { "g++" } else { "gcc" };
        let line = self.random.pick(ODD_RUNS).replace("TOOL", tool).replace("SOURCE", self.source);
        self.step(&format!("odd: {line}"));
        let ibid = tools::ibid().to_str().unwrap();
        let line = line.replace("ibid ", &format!("{ibid} "));
        let mut shell = self.cache.command("/bin/sh");
        shell.args(["-c", &line]).current_dir(self.project.path());
        shell.output().unwrap();
        clear(&self.project.at("odd"));
        clear(&self.project.at("odd.o"));
        clear(&self.project.at("odd.out"));
    }

    /// From now on both observers watch again.
    fn forget_programs(&mut self) {
        self.step("forget what is known of programs");
        for entry in fs::read_dir(self.cache.dir()).into_iter().flatten().flatten() {
            let _ = fs::remove_file(entry.path().join("programs"));
        }
    }

    /// A command that a signal ends at some moment. An output where none was is whole.
    fn interrupt(&mut self) {
        let (output, signal) = (self.project.at("cut.o"), *self.random.pick(&["TERM", "INT"]));
        let delay_us = self.random.below(2500);
        self.step(&format!("interrupt by {signal} after {delay_us} us"));
        let tool = if self.source == "m.cc" { "g++" } else { "gcc" };
        let args = [tool, "-I.", "-Itwo", "-c", self.source, "-o", "cut.o"];
        let whole = {
            let mut bare = self.cache.command(tool);
            bare.args(&args[1..]).current_dir(self.project.path());
            let succeeds = bare.output().unwrap().status.success();
            succeeds.then(|| fs::read(&output).unwrap())
        };
        for _ in 0..2 {
            clear(&output);
            let mut child = self.cache.ibid(args);
            child.current_dir(self.project.path()).process_group(0);
            child.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = child.spawn().unwrap();
            std::thread::sleep(Duration::from_micros(u64::try_from(delay_us).unwrap()));
            let group = rustix::process::Pid::from_child(&child);
            let signal = if signal == "INT" { Signal::INT } else { Signal::TERM };
            let _ = rustix::process::kill_process_group(group, signal);
            child.wait().unwrap();
            let left = fs::read(&output).ok();
            assert!(left.is_none() || left == whole, "a part of an output: {left:?}");
        }
        clear(&output);
    }

    /// One command, compared; whether it was a hit.
    fn check(&mut self, tool: &str) -> bool {
        let at_once = self.random.chance(50);
        self.step(&format!("check, at once: {at_once}"));
        // Another step may have taken the directory away.
        if !self.project.at(self.cwd).is_dir() {
            self.cwd = "";
        }
        let source = if self.cwd.is_empty() {
            self.source.to_owned()
        } else {
            self.project.at(self.source).to_str().unwrap().to_owned()
        };
        let line = format!("{tool} {} -c {source} -o {}", self.flags.join(" "), self.output);
        self.step(&line);
        let call = self
            .project
            .call(&self.cache, &line)
            .cwd(self.cwd)
            .env_all(&self.environment)
            .umask(self.umask);
        let call = if at_once { call.at_once() } else { call };
        call.check().outcome.is_hit()
    }
}

/// Makes the directories of `place` below `root`; a file that stands in the way goes.
fn make_way(root: &Path, place: &str) {
    let mut path = root.to_path_buf();
    let (directories, _) = place.rsplit_once('/').unwrap_or(("", place));
    for part in directories.split('/').filter(|part| !part.is_empty()) {
        path.push(part);
        if !path.is_dir() {
            clear(&path);
            fs::create_dir(&path).unwrap();
        }
    }
}

/// Removes whatever is at `path`.
fn clear(path: &Path) {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn length() -> Duration {
    let seconds = if tools::long() { SECONDS_LONG } else { SECONDS };
    Duration::from_secs(variable("IBID_HUNT_SECONDS").unwrap_or(seconds))
}

/// What a hunt came to.
#[derive(Default)]
struct Bag {
    changes: usize,
    checks: usize,
    hits: usize,
}

impl Bag {
    /// Fails if fewer than one command in `one_in` was a hit.
    fn report(&self, what: &str, seed: u64, one_in: usize) {
        let Bag { changes, checks, hits } = self;
        tools::say(&format!(
            "hunt of {what}, seed {seed}: {changes} changes, {checks} commands compared, {hits} hits"
        ));
        assert!(
            hits * one_in >= *checks,
            "{what}: {hits} hits of {checks}: it hardly tests anything"
        );
    }
}

fn hunt(tool_names: &[&str], source: &'static str, seed: u64) {
    let present = tools::present(tool_names);
    let seed = variable("IBID_TEST_SEED").unwrap_or(seed);
    let (started, mut bag) = (Instant::now(), Bag::default());
    for round in 0.. {
        let mut hunt = Hunt::new(seed.wrapping_add(round), source);
        for _ in 0..60 {
            if started.elapsed() > length() {
                return bag.report(&tool_names.join(" and "), seed, 4);
            }
            for _ in 0..hunt.random.below(3) {
                bag.changes += 1;
                hunt.mutate();
            }
            let tool = *hunt.random.pick(&present);
            for _ in 0..=hunt.random.below(3) {
                bag.checks += 1;
                bag.hits += usize::from(hunt.check(tool));
            }
        }
    }
}

#[test]
fn c() {
    hunt(tools::C, "m.c", 1);
}

#[test]
fn cxx() {
    hunt(tools::CXX, "m.cc", 1_000_001);
}

/// Commands over files that stand for objects, archives and texts; `ibid exec --` caches them without a policy.
const COMMANDS: &[&str] = &[
    "ar rcsD lib.a x.o y.o",
    "ar rD lib.a y.o",
    "ar dD lib.a x.o",
    "ld -r x.o y.o -o z.o",
    "ld -r -L. -Lone x.o -lz -o z.o",
    "ld -r -T script.ld x.o -o z.o",
    "objcopy --strip-debug x.o z.o",
    "strip y.o",
    "cp x.o z.o",
    "cp -r one two",
    "sort x.o -o z.o",
    "gcc -shared -nostdlib x.o y.o -o z.so",
    "gcc -nostdlib -r x.o -L. -lz -o z.o",
];
const FILES: &[&str] =
    &["x.o", "y.o", "z.o", "lib.a", "libz.a", "one/libz.a", "script.ld", "one/x.o", "two"];

#[test]
fn tools_without_a_policy() {
    let seed = variable("IBID_TEST_SEED").unwrap_or(2_000_001);
    let (started, mut bag) = (Instant::now(), Bag::default());
    for round in 0.. {
        let this = seed.wrapping_add(round);
        let (mut random, mut steps) = (Random::new(this), Steps::new(this));
        let project = Project::new();
        let cache = Cache::new();
        project.shell(
            &cache,
            "mkdir stock one && cd stock && for i in 1 2 3; do echo \"int v$i = $i; int f$i(void) { return $i; }\" > $i.c && gcc -g -c $i.c -o $i.o; done; ar rcD 4.a 1.o; ar rcD 5.a 2.o 3.o; echo 'SECTIONS { .text : { *(.text*) } }' > 6; echo text > 7; cp 1.o ../x.o; cp 2.o ../y.o; cp 4.a ../libz.a; cp 6 ../script.ld",
        );
        let stock: Vec<_> =
            fs::read_dir(project.at("stock")).unwrap().map(|entry| entry.unwrap().path()).collect();
        for _ in 0..60 {
            if started.elapsed() > length() {
                // What was there before decides much more often.
                return bag.report("tools without a policy", seed, 20);
            }
            let (name, from) = (*random.pick(FILES), random.pick(&stock));
            let path = project.at(name);
            bag.changes += 1;
            let kind = random.below(8);
            steps.add(&format!("{name}: {kind} {}", from.display()));
            match kind {
                0..=2 => {
                    clear(&path);
                    fs::copy(from, path).unwrap();
                }
                3 => clear(&path),
                4 if path.is_file() => project.touch(name),
                5 if !path.exists() => fs::create_dir(path).unwrap(),
                6 if path.is_file() => fs::write(path, fs::read(from).unwrap()).unwrap(),
                _ => {}
            }
            let line = *random.pick(COMMANDS);
            for _ in 0..=random.below(4) {
                let at_once = random.chance(50);
                steps.add(&format!("check {line}, at once: {at_once}"));
                let call = project.call(&cache, line).through(Through::Exec);
                let call = if at_once { call.at_once() } else { call };
                bag.checks += 1;
                bag.hits += usize::from(call.check().outcome.is_hit());
            }
        }
    }
}
