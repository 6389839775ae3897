//! How many instructions and system calls a hit takes, and a miss: what grows is seen here, and not when somebody measures next.
//!
//! Counted is the process of ibid alone, in the build of the tests, by callgrind. The counts are the same each time, but for a miss,
//! which has threads; they hold for one compiler and one rustc. Who lets one grow by more than 3 % changes it here, and says why.

use std::fmt::Write;
use std::process::Command;

use crate::cache::Cache;
use crate::project::Project;
use crate::tools;

/// With which the counts below were made: the first lines of `--version`.
const VERSIONS: [(&str, &str); 2] = [
    ("gcc", "gcc (Debian 12.2.0-14+deb12u1) 12.2.0"),
    ("rustc", "rustc 1.95.0 (59807616e 2026-04-14)"),
];

/// What one command takes.
#[derive(Debug)]
struct Counts {
    /// Instructions of a direct hit.
    direct: u64,
    /// Of one by a record that is told by another one.
    by_delta: u64,
    /// Of a content hit.
    content: u64,
    /// Of a miss, of which another one is known.
    miss: u64,
    /// System calls of a direct hit.
    calls: u64,
}

struct Case {
    name: &'static str,
    line: &'static str,
    counts: Counts,
}

const CASES: [Case; 2] = [
    Case {
        name: "C, <stdio.h> and three headers",
        line: "gcc -O2 -g -c a.c -o a.o",
        counts: Counts {
            direct: 274_100,
            by_delta: 300_200,
            content: 6_742_000,
            miss: 25_700_000,
            calls: 153,
        },
    },
    Case {
        name: "C++, <map> and three headers",
        line: "g++ -O2 -g -c a.cc -o a.o",
        counts: Counts {
            direct: 766_400,
            by_delta: 795_200,
            content: 9_065_000,
            miss: 31_700_000,
            calls: 196,
        },
    },
];

/// A project and a cache whose names are as long each time.
struct Place {
    project: Project,
    cache: Cache,
}

impl Place {
    fn new() -> Place {
        let headers = "#include \"h1.h\"\n#include \"h2.h\"\n#include \"h3.h\"\n";
        let project = Project::with(&[
            ("h1.h", "#define H1 1\n"),
            ("h2.h", "#define H2 2\n"),
            ("h3.h", "#define H3 3\n"),
            ("a.c", &format!("{headers}#include <stdio.h>\nint a = H1;\n")),
            ("a.cc", &format!("{headers}#include <map>\nstd::map<int, long> a{{{{H1, 1}}}};\n")),
        ]);
        Place { project, cache: Cache::new() }
    }

    fn run(&self, program: &[&str], line: &str) -> String {
        let mut command = Command::new(program[0]);
        let done = command
            .args(&program[1..])
            .arg(env!("CARGO_BIN_EXE_ibid"))
            .args(line.split(' '))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.cache.root())
            .env("IBID_DIR", self.cache.dir())
            .env("IBID_CONFIG", self.cache.root().join("none"))
            .env("XDG_RUNTIME_DIR", self.cache.root())
            .current_dir(self.project.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stderr).unwrap()
    }

    /// Instructions of one call.
    fn instructions(&self, line: &str) -> u64 {
        let told =
            self.run(&["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"], line);
        let count = told.lines().find_map(|line| line.split_once("Collected : "));
        let (_, count) = count.unwrap_or_else(|| panic!("{told}"));
        count.trim().parse().unwrap()
    }

    /// System calls of one call.
    fn calls(&self, line: &str) -> u64 {
        let log = self.project.at("calls");
        self.run(&["strace", "-qq", "-o", &log.to_string_lossy()], line);
        std::fs::read_to_string(&log).unwrap().lines().count() as u64
    }

    fn measure(&self, line: &str) -> Counts {
        // A miss, and a first hit.
        self.instructions(line);
        self.instructions(line);
        let direct = self.instructions(line);
        self.project.touch("h1.h");
        let content = self.instructions(line);
        let by_delta = self.instructions(line);
        self.project.write("h1.h", "#define H1 4\n");
        let miss = self.instructions(line);
        // Without valgrind's variables it is another result.
        self.run(&["env"], line);
        self.run(&["env"], line);
        Counts { direct, by_delta, content, miss, calls: self.calls(line) }
    }
}

fn first_line(program: &str) -> String {
    let told = Command::new(program).arg("--version").output();
    let told = told.map(|told| String::from_utf8_lossy(&told.stdout).into_owned());
    told.unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

#[test]
fn nothing_grows() {
    for (program, version) in VERSIONS {
        let found = first_line(program);
        if found != version {
            return tools::skip(&format!("the counts are those of {version}, here is {found}"));
        }
    }
    if !tools::have("valgrind") || !tools::have("strace") {
        return;
    }
    let mut grown = String::new();
    for Case { name, line, counts } in CASES {
        let found = Place::new().measure(line);
        let figures = [
            ("instructions of a direct hit", found.direct, counts.direct),
            ("instructions of a direct hit by a delta", found.by_delta, counts.by_delta),
            ("instructions of a content hit", found.content, counts.content),
            ("instructions of a miss", found.miss, counts.miss),
            ("system calls of a direct hit", found.calls, counts.calls),
        ];
        for (what, found, known) in figures {
            if found * 100 > known * 103 {
                let _ = writeln!(grown, "{name}: {found} {what}, and not {known}");
            }
        }
    }
    assert!(grown.is_empty(), "{grown}");
}
