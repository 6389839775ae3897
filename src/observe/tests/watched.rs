//! Both observers at once: what the system calls show, and whether the shim saw it too.

use std::path::PathBuf;
use std::process::Command;

use super::{Place, Seen, exec_chain, find, rustc};
use crate::observe::preload::Preload;
use crate::observe::seccomp::{Missed, Watch};
use crate::observe::{Fact, Made, Unsteady};
use crate::os::watch::Privileges;

impl Place {
    fn watch(&self, words: &str) -> (Seen, Vec<Missed>) {
        self.watch_args(&words.split_whitespace().collect::<Vec<_>>(), false)
    }

    /// Runs words under both observers.
    fn watch_args(&self, words: &[&str], hide_clocks: bool) -> (Seen, Vec<Missed>) {
        let cwd = self.path(".");
        let mut preload = Preload::prepare_in(&self.cache(), &cwd).expect("a place for the shim");
        let tool = if words[0].starts_with("./") { self.path(words[0]) } else { find(words[0]) };
        preload.check(&tool);
        let (filter, watch) =
            Watch::begin(Privileges::MayRenounce, cwd, preload.own_files(), hide_clocks)
                .expect("a thread");
        let mut command = Command::new(&tool);
        command.args(&words[1..]).current_dir(self.path("")).envs(preload.environment());
        filter.install_in(&mut command).expect("a descriptor");
        let output = command.output().expect("it starts");
        drop((command, filter));
        let (what, missed) = preload.finish_with(watch.finish());
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (Seen { status: output.status, stdout: output.stdout, stderr, what }, missed)
    }

    /// The same; it must go well, be seen whole, and the shim must have missed nothing.
    fn both(&self, words: &str) -> crate::observe::Observation {
        let (seen, missed) = self.watch(words);
        let missed: Vec<String> = missed.iter().map(ToString::to_string).take(20).collect();
        assert!(missed.is_empty(), "{words}: {missed:#?}");
        assert_eq!(seen.what.unwatched, None);
        seen.whole()
    }
}

#[test]
fn compilers_are_seen_alike() {
    let place = Place::new();
    place.write("inc/b.h", "int b;\n");
    place.write("a.c", "#include <stdio.h>\n#include \"b.h\"\nint main(void) { return b; }\n");
    place.write("a.cc", "#include <vector>\nint main() { std::vector<int> v; return 0; }\n");
    place.write("a.rs", "pub fn f() -> usize { std::env::args().count() }\n");
    for tool in ["gcc", "clang"] {
        let what = place.both(&format!("{tool} -O1 -g -Imissing -Iinc -MD -c a.c -o {tool}.o"));
        assert!(what.reads("a.c") && what.reads("inc/b.h"), "{:?}", what.inputs);
        assert!(what.absences.iter().any(|absence| absence.path.ends_with("b.h")));
        assert!(what.asks("CPATH"));
        let mut names = what.output_names();
        names.sort_unstable();
        assert_eq!(names, [format!("{tool}.d"), format!("{tool}.o")]);
        assert!(what.outputs.iter().all(|output| output.stat.is_some()), "{:?}", what.outputs);
        assert!(!what.facts.contains(&Fact::UnseenVariables));
        assert!(!what.facts.contains(&Fact::Time));
    }
    for words in ["g++ -c a.cc -o c.o", "clang++ -c a.cc -o d.o", "gcc a.c -Iinc -o a"] {
        place.both(words);
    }
    place.both(&format!("{} --crate-type rlib a.rs -o e.rlib", rustc().display()));
}

#[test]
fn shells_threads_and_python_are_seen_alike() {
    let place = Place::new();
    let names = exec_chain(&place);
    let (seen, missed) = place.watch("./chain");
    assert_eq!(String::from_utf8_lossy(&seen.stdout), "abcdefg");
    assert_eq!(missed, []);
    let what = seen.whole();
    for name in names {
        assert!(what.reads(name), "{name}");
    }
    place.write("dir/x", "x");
    place.write("p.py", "import os\nos.chdir('dir')\nprint(os.listdir('.'), open('x').read())\n");
    let what = place.both("/usr/bin/python3 p.py");
    assert!(what.reads(place.path("dir/x")));
    assert!(what.listings.iter().any(|path| path.ends_with("dir")), "{:?}", what.listings);
}

#[test]
fn outputs_are_seen_alike() {
    let place = Place::new();
    place.write("old", "1");
    place.write("log", "1");
    let script =
        "echo 2 > tmp; mv tmp new; echo 3 > old; echo 4 >> log; echo 5 > x; rm x; chmod 700 new";
    let (seen, missed) = place.watch_args(&["sh", "-c", script], false);
    assert_eq!(missed, []);
    let what = seen.whole();
    let mut names = what.output_names();
    names.sort_unstable();
    assert_eq!(names, ["log", "new", "old"]);
    for output in &what.outputs {
        let metadata = std::fs::metadata(place.path("").join(&output.path)).expect("it is there");
        let stat = output.stat.expect("its close was seen");
        let ctime_ns = {
            use std::os::unix::fs::MetadataExt as _;
            assert_eq!((stat.size, stat.ino), (metadata.len(), metadata.ino()));
            metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec()
        };
        assert_eq!(stat.ctime_ns, ctime_ns, "{}", output.path.display());
        let how = match output.path.to_str() {
            Some("new") => Made::Renamed,
            Some("old") => Made::Truncated,
            _ => Made::Modified,
        };
        assert_eq!(output.how, how);
    }
    assert!(!what.facts.contains(&Fact::SideEffect), "{:?}", what.facts);
    let (removed, _) = place.watch("rm log");
    let removed = removed.whole().removed;
    assert!(removed.iter().any(|it| it.was_there && it.path.ends_with("log")), "{removed:?}");
}

const COPY: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int main(int argc, char **argv) {
    FILE *in = fopen(argv[1], "r"), *out = fopen(argv[2], "w");
    if (!in || !out || fopen("missing", "r")) return 1;
    for (int c; (c = getc(in)) != EOF;) putc(c, out);
    if (argc > 3) fprintf(out, "%d", time(NULL) > 0);
    return fclose(out);
}
"#;

/// Where the shim cannot live: a static program, by itself and below a shell.
#[test]
fn a_static_program_is_seen_by_its_calls() {
    let place = Place::new();
    place.write("copy.c", COPY);
    place.run("gcc -static copy.c -o copy");
    place.write("in", "text");
    for words in [&["./copy", "in", "out"][..], &["sh", "-c", "./copy in out"]] {
        let (seen, _) = place.watch_args(words, true);
        let what = seen.whole();
        assert!(what.reads("in") && what.misses("missing"));
        assert_eq!(what.output_names(), ["out"]);
        assert!(what.outputs[0].stat.is_some());
        assert!(what.facts.contains(&Fact::UnseenVariables));
        assert!(!what.facts.contains(&Fact::Time), "{:?}", what.facts);
        let is_clock = |(kind, _): &(Unsteady, PathBuf)| *kind == Unsteady::Clock;
        assert!(!what.unsteady.iter().any(is_clock), "{:?}", what.unsteady);
        std::fs::remove_file(place.path("out")).expect("it is there");
    }
    let (seen, _) = place.watch("./copy in out time");
    let what = seen.whole();
    assert!(what.facts.contains(&Fact::Time), "its clock was taken away: {:?}", what.unsteady);
}

#[test]
fn what_cannot_be_seen_is_said() {
    let place = Place::new();
    place.write("ring.c", "#include <sys/syscall.h>\n#include <unistd.h>\nint main(void) { char p[120] = {0}; return syscall(SYS_io_uring_setup, 4, p) < -1; }\n");
    place.run("gcc ring.c -o ring");
    let (seen, _) = place.watch("./ring");
    assert!(seen.status.success());
    assert!(seen.what.incomplete.is_some());
    let (seen, _) = place.watch_args(&["sh", "-c", "sleep 3 >&- 2>&- & true"], false);
    assert!(seen.status.success());
    assert!(seen.what.incomplete.is_some_and(|reason| reason.contains("outlived")));
    let (seen, _) = place.watch_args(&["sh", "-c", "sh -c 'kill -9 $$'; true"], false);
    assert!(seen.what.incomplete.is_some_and(|reason| reason.contains("did not report")));
}
