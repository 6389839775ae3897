//! What the binary is: static, with its own entry; what a hit asks of the kernel; which crates stay out.

use std::collections::BTreeSet;
use std::process::Command;

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::tools;

fn output(program: &str, args: &[&str]) -> String {
    let done = Command::new(program).args(args).output().unwrap();
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn cargo(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(args);
    let done = command.output().unwrap();
    assert!(done.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn it_is_static_and_enters_through_the_probe() {
    if !tools::have("readelf") {
        return;
    }
    let ibid = tools::ibid().to_str().unwrap();
    let headers = output("readelf", &["--wide", "--program-headers", ibid]);
    assert!(!headers.contains("INTERP"), "it has a loader");
    assert!(headers.contains("EXEC (Executable file)"), "it is position independent");
    let entry =
        headers.lines().find_map(|line| line.strip_prefix("Entry point 0x")).unwrap().trim();
    let symbols = output("readelf", &["--wide", "--symbols", ibid]);
    let ours =
        symbols.lines().find(|line| line.ends_with(" ibid_entry")).expect("a symbol ibid_entry");
    let address = ours.split_whitespace().nth(1).unwrap().trim_start_matches('0');
    assert_eq!(address, entry);
}

#[test]
fn rustix_makes_its_calls_itself() {
    let tree = cargo(&["tree", "--offline", "--edges", "features,normal", "--invert", "rustix"]);
    assert!(tree.contains("rustix"), "{tree}");
    for feature in ["use-libc", "use-explicitly-provided-auxv"] {
        assert!(!tree.contains(&format!("rustix feature \"{feature}\"")), "{feature} is on");
    }
}

#[test]
fn the_rooms_of_a_hit_compile_alone() {
    let target = tempfile::tempdir().unwrap();
    let dir = target.path().to_str().unwrap();
    cargo(&[
        "check",
        "--offline",
        "--quiet",
        "--lib",
        "--no-default-features",
        "--target-dir",
        dir,
    ]);
}

/// All that a hit asks of the kernel. It has to stay short: this list is the speed of the program.
const CALLS_OF_A_HIT: &[&str] = &[
    "clock_gettime",
    "close",
    "execve",
    "exit_group",
    "fchmod",
    "fcntl",
    "fstatfs",
    "getcwd",
    "geteuid",
    "getpid",
    "getppid",
    "getsid",
    "ioctl",
    "linkat",
    "mmap",
    "munmap",
    "open",
    "openat",
    "ppoll",
    "prlimit64",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "statx",
    "umask",
    "unlink",
    "unlinkat",
    "write",
];

#[test]
fn the_system_calls_of_a_hit() {
    if !tools::have("strace") {
        return;
    }
    for tool in tools::present(tools::ALL) {
        let cache = Cache::new();
        let source = "#include <stdlib.h>\n#include \"libh.rlib\"\nint a;\n";
        let project = Project::with(&[("a.c", source), ("b.c", source), ("libh.rlib", "int h;\n")]);
        let call = project.call(&cache, &format!("{tool} -MD -c a.c -o a.o"));
        let other = project.call(&cache, &format!("{tool} -c b.c -o b.o"));
        for call in [&call, &other] {
            call.check().expect(&Outcome::Miss);
            call.check().expect_hit();
        }
        makes_few_calls(&cache, &project, tool, &Outcome::InvocationHit);
        // Somebody else reads the touched crate, as far as its name goes: from then on its content is known.
        project.touch("libh.rlib");
        other.check().expect(&Outcome::PortableHit);
        makes_few_calls(&cache, &project, tool, &Outcome::PortableHit);
    }
}

/// Compiles `a.c`: a hit of this kind, and nothing but what is listed above is asked of the kernel.
#[track_caller]
fn makes_few_calls(cache: &Cache, project: &Project, tool: &str, outcome: &Outcome) {
    let log = cache.root().join("strace");
    let counted = cache.count(|| {
        let mut command = cache.command("strace");
        command.args(["-f", "-qq", "-o"]).arg(&log).arg(tools::ibid());
        command.args([tool, "-MD", "-c", "a.c", "-o", "a.o"]).current_dir(project.path());
        assert!(command.stdin(std::process::Stdio::null()).status().unwrap().success());
    });
    assert_eq!(&counted.outcome(), outcome);
    let text = std::fs::read_to_string(&log).unwrap();
    let name = |line: &str| {
        let (_, call) = line.trim_start().split_once(' ')?;
        Some(call.trim_start().split_once('(')?.0.to_owned())
    };
    let seen: BTreeSet<String> = text.lines().filter_map(name).collect();
    let strange: Vec<&String> =
        seen.iter().filter(|call| !CALLS_OF_A_HIT.contains(&call.as_str())).collect();
    assert!(strange.is_empty(), "{tool}: {strange:?}\n{text}");
    assert_eq!(text.matches("execve(").count(), 1, "{tool}: a hit runs nothing");
    let processes: BTreeSet<&str> =
        text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(processes.len(), 1, "{tool}: a hit is one process");
}
