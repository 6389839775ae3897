//! How invocations are counted: one outcome for each wrapper process, by the rules of ARCHITECTURE.md.

use std::fs;
use std::os::unix::fs::symlink;

use crate::cache::{Cache, Outcome};
use crate::call::{StdIn, Through};
use crate::project::Project;
use crate::tools::{self, C};

const HELLO: &[(&str, &str)] = &[
    ("a.c", "#include \"h.h\"\nint a = H;\n"),
    ("b.c", "int b;\n"),
    ("h.h", "#define H 1\n"),
    ("main.c", "int main(void) { return 0; }\n"),
];

fn passed(reason: &str) -> Outcome {
    Outcome::PassedThrough(reason.to_owned())
}

#[test]
fn a_miss_then_hits() {
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), Project::with(HELLO));
        let call = project.call(&cache, &format!("{tool} -c a.c -o a.o"));
        call.check().expect(&Outcome::Miss);
        for _ in 0..3 {
            call.check().expect(&Outcome::InvocationHit);
        }
    }
}

#[test]
fn what_passes_through_and_why() {
    let lines = [
        ("", "no_source"),
        ("-x c -c /dev/stdin -o a.o", "standard_input"),
        ("--version", "query"),
        ("-v", "query"),
        ("-dumpmachine", "query"),
        ("-print-search-dirs", "query"),
        ("-### -pipe -c a.c", "query"),
        ("-MM -MF /dev/stderr a.c", "output_not_a_file"),
        ("-c a.c -o", "unparsed"),
    ];
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::with(HELLO));
        for (args, reason) in lines {
            for _ in 0..2 {
                let seen = project.call(&cache, &format!("{tool} {args}")).check();
                assert_eq!(seen.outcome, passed(reason), "{tool} {args}");
            }
        }
    }
}

#[test]
fn unknown_tools() {
    let (cache, project) = (Cache::new(), Project::new());
    project.call(&cache, "true x").check().expect(&passed("unknown_tool"));
    let seen = project.call(&cache, "sh -c").arg("exit 3").check().expect(&passed("unknown_tool"));
    assert_eq!(seen.done.code, Some(3));
    project.call(&cache, "false x").check().expect(&passed("unknown_tool"));
}

#[test]
fn an_unknown_tool_is_cached_if_it_is_forced() {
    let (cache, project) = (Cache::new(), Project::with(&[("in", "some text\n")]));
    let call = project.call(&cache, "cp in out").through(Through::Exec);
    call.check().expect_miss();
    call.check();
    project.write("in", "other text\n");
    call.check();
    assert_eq!(project.read("out"), b"other text\n");
}

/// `ar r` adds to an archive that is there, and makes one that is not.
#[test]
fn an_unknown_tool_that_makes_a_file_or_adds_to_it() {
    let cache = Cache::new();
    let project = Project::with(&[("one", "1\n"), ("two", "2\n")]);
    let call = project.call(&cache, "ar rcDS lib.a one").through(Through::Exec);
    call.check().expect_miss();
    project.remove("lib.a");
    call.check().expect_hit();
    call.check();
    call.check();
    project.shell(&cache, "rm lib.a && ar rcDS lib.a two");
    call.check();
    call.check();
    project.remove("lib.a");
    call.check();
}

/// `CC="ibid gcc"` under a launcher; a launcher before a compiler that is a symlink to ibid.
#[test]
fn ibid_before_ibid() {
    for tool in tools::present(C) {
        let cache = Cache::new();
        let project = Project::with(&[("a.c", "int a;\n")]);
        std::fs::create_dir(project.at("bin")).unwrap();
        symlink(tools::ibid(), project.at("bin").join(tool)).unwrap();
        let bare = format!("{tool} -g -c a.c -o a.o");
        project.shell(&cache, &bare);
        let object = project.read("a.o");
        let ibid = tools::ibid().display();
        for line in [format!("{ibid} {ibid} {bare}"), format!("{ibid} $PWD/bin/{bare}")] {
            for _ in 0..3 {
                project.remove("a.o");
                project.shell(&cache, &line);
                assert_eq!(project.read("a.o"), object, "{line}");
            }
        }
    }
}

/// Two wrappers on `PATH`, each of which looks for the compiler behind itself only.
#[test]
fn another_wrapper_on_path_that_finds_us_again() {
    for tool in tools::present(C) {
        let cache = Cache::new();
        let project = Project::with(&[("a.c", "int a;\n"), ("ours/x", ""), ("theirs/x", "")]);
        symlink(tools::ibid(), project.at("ours").join(tool)).unwrap();
        let (root, path) = (project.path().display(), std::env::var("PATH").unwrap());
        let script = format!("#!/bin/sh\nPATH={root}/ours:$PATH exec {tool} \"$@\"\n");
        project.write_program("other-wrapper", &script);
        symlink("../other-wrapper", project.at("theirs").join(tool)).unwrap();
        for setting in ["", "IBID_DISABLE=1 "] {
            for _ in 0..2 {
                let line = format!(
                    "{setting}PATH={root}/ours:{root}/theirs:{path} timeout 20 {tool} -c a.c -o a.o"
                );
                project.shell(&cache, &line);
                let object = project.read("a.o");
                project.shell(&cache, &format!("{tool} -c a.c -o a.o"));
                assert_eq!(object, project.read("a.o"));
                project.remove("a.o");
            }
        }
    }
}

/// What an unknown tool makes of the calendar is not known: a compiler only shows a file's time.
#[test]
fn an_unknown_tool_that_asks_for_the_local_time() {
    let (cache, project) = (Cache::new(), Project::new());
    project.write("now.sh", "date > out\n");
    let call = project.call(&cache, "sh now.sh").through(Through::Exec).unstable(&["out".into()]);
    for _ in 0..2 {
        call.check().expect(&Outcome::NotStored("used_time".into()));
    }
}

#[test]
fn failures_are_the_tools() {
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a = ;\n")]));
        let call = project.call(&cache, &format!("{tool} -MD -c a.c -o a.o"));
        call.check().expect(&Outcome::ToolFailure);
        call.check().expect(&Outcome::ToolFailure);
        project.write("a.c", "int a = 1;\n");
        call.check().expect(&Outcome::Miss);
        call.check().expect_hit();
    }
}

#[test]
fn a_tool_that_is_not_there() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    for line in
        [vec!["no-such-gcc", "-c", "a.c"], vec!["./no/such/gcc"], vec!["exec", "--", "no-such"]]
    {
        let counted = cache.count(|| {
            let done = cache.ibid(&line).current_dir(project.path()).output().unwrap();
            assert_eq!(done.status.code(), Some(127), "{line:?}");
            assert!(done.stdout.is_empty());
            let text = String::from_utf8(done.stderr).unwrap();
            assert_eq!(text.lines().count(), 1, "{text}");
        });
        assert_eq!(counted.outcome(), Outcome::Uncounted);
    }
}

#[test]
fn a_tool_that_dies_of_a_signal() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    for (signal, number) in [("TERM", 15), ("KILL", 9), ("INT", 2), ("SEGV", 11)] {
        project.write_program("gcc", &format!("#!/bin/sh\nkill -{signal} $$\n"));
        let seen = project.call(&cache, "./gcc -c a.c -o a.o").check();
        assert_eq!(seen.done.signal, Some(number));
        assert_eq!(seen.outcome, Outcome::ToolFailure);
    }
}

#[test]
fn exit_statuses() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    for status in [1, 2, 77, 126, 127, 130, 255] {
        project
            .write_program("gcc", &format!("#!/bin/sh\necho out; echo err >&2; exit {status}\n"));
        let seen = project.call(&cache, "./gcc -c a.c -o a.o").check();
        assert_eq!(seen.done.code, Some(status));
        assert_eq!(seen.outcome, Outcome::ToolFailure);
    }
}

#[test]
fn disabled() {
    let (cache, project) = (Cache::new().with("IBID_DISABLE", "1"), Project::with(HELLO));
    let call = project.call(&cache, "gcc -c a.c -o a.o");
    call.check().expect(&Outcome::Uncounted);
    call.check().expect(&Outcome::Uncounted);
    let (cache, project) = (Cache::new().with("IBID_DISABLE", "0"), Project::with(HELLO));
    project.call(&cache, "gcc -c a.c -o a.o").check().expect(&Outcome::Miss);
}

#[test]
fn disabled_after_a_hit() {
    let (mut cache, project) = (Cache::new(), Project::with(HELLO));
    project.call(&cache, "gcc -c a.c -o a.o").check().expect(&Outcome::Miss);
    cache.set("IBID_DISABLE", "1");
    project.call(&cache, "gcc -c a.c -o a.o").check().expect(&Outcome::Uncounted);
}

#[test]
fn read_only() {
    let (mut cache, project) = (Cache::new().with("IBID_READONLY", "1"), Project::with(HELLO));
    let line = "gcc -c a.c -o a.o";
    for _ in 0..2 {
        let outcome = Outcome::NotStored("read_only".to_owned());
        project.call(&cache, line).check().expect(&outcome);
    }
    cache.unset("IBID_READONLY");
    project.call(&cache, line).check().expect(&Outcome::Miss);
    cache.set("IBID_READONLY", "1");
    project.call(&cache, line).check().expect_hit();
}

#[test]
fn stored_anew() {
    let (mut cache, project) = (Cache::new(), Project::with(HELLO));
    let line = "gcc -c a.c -o a.o";
    project.call(&cache, line).check().expect(&Outcome::Miss);
    cache.set("IBID_RECACHE", "1");
    for _ in 0..2 {
        assert!(project.call(&cache, line).check().outcome.is_miss());
    }
    cache.unset("IBID_RECACHE");
    project.call(&cache, line).check().expect_hit();
}

#[test]
fn without_an_observer() {
    let (cache, project) = (Cache::new().with("IBID_OBSERVER", "off"), Project::with(HELLO));
    project.call(&cache, "gcc -c a.c -o a.o").check().expect(&passed("no_observer"));
}

#[test]
fn settings_of_the_file() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let line = "gcc -c a.c -o a.o";
    project.call(&cache, line).check().expect(&Outcome::Miss);
    project.call(&cache, line).check().expect(&Outcome::InvocationHit);
    cache.say(&["config", "set", "disable", "true"]);
    project.call(&cache, line).check().expect(&Outcome::Uncounted);
    cache.say(&["config", "set", "disable", "false"]);
    assert!(project.call(&cache, line).check().outcome != Outcome::Uncounted);
}

#[test]
fn a_touched_file_is_a_portable_hit_and_then_an_invocation_hit() {
    for tool in tools::of_each_family() {
        for touched in ["a.c", "h.h"] {
            let (cache, project) = (Cache::new(), Project::with(HELLO));
            let call = project.call(&cache, &format!("{tool} -MD -g -c a.c -o a.o"));
            call.check().expect(&Outcome::Miss);
            project.touch(touched);
            call.check().expect(&Outcome::PortableHit);
            call.check().expect(&Outcome::InvocationHit);
        }
    }
}

#[test]
fn an_edit_and_back_again() {
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), Project::with(HELLO));
        let call = project.call(&cache, &format!("{tool} -c a.c -o a.o"));
        for (round, header) in ["#define H 1\n", "#define H 2\n"].iter().cycle().take(6).enumerate()
        {
            project.write("h.h", header);
            let seen = call.check();
            if round < 2 {
                assert_eq!(seen.outcome, Outcome::Miss, "{tool}, round {round}");
            } else {
                assert!(seen.outcome.is_hit(), "{tool}, round {round}: {:?}", seen.outcome);
            }
        }
    }
}

#[test]
fn another_path_variable() {
    for tool in tools::of_each_family() {
        let (mut cache, project) = (Cache::new(), Project::with(HELLO));
        let line = format!("{tool} -c a.c -o a.o");
        project.call(&cache, &line).check().expect(&Outcome::Miss);
        project.mkdir("venv/bin");
        let path = std::env::var("PATH").unwrap();
        cache.set("PATH", format!("{}:{path}", project.at("venv/bin").display()));
        project.call(&cache, &line).check().expect_hit();
        project.call(&cache, &line).check().expect_hit();
    }
}

#[test]
fn variables_that_nobody_asks_for() {
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), Project::with(HELLO));
        let line = format!("{tool} -c a.c -o a.o");
        project.call(&cache, &line).check().expect(&Outcome::Miss);
        let call =
            project.call(&cache, &line).env("UNRELATED", "1").env("SHLVL", "7").env("OLDPWD", "/");
        call.check().expect_hit();
    }
}

#[test]
fn the_jobserver_of_make_does_not_count() {
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), Project::with(HELLO));
        let line = format!("{tool} -c a.c -o a.o");
        project.call(&cache, &line).env("MAKEFLAGS", "-j1").check().expect(&Outcome::Miss);
        project
            .call(&cache, &line)
            .env("MAKEFLAGS", " -j8 --jobserver-auth=9,9")
            .check()
            .expect_hit();
    }
}

#[test]
fn versioned_names() {
    let dir = tools::path_of("gcc").parent().unwrap().to_path_buf();
    let known = ["gcc-", "g++-", "clang-", "clang++-", "c++", "cc", "x86_64-linux-gnu-gcc"];
    let names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| {
            let version = |prefix: &&str| {
                let rest = name.strip_prefix(prefix)?;
                (rest.bytes().all(|byte| byte.is_ascii_digit())).then_some(())
            };
            known.iter().any(|prefix| version(prefix).is_some())
        })
        .collect();
    assert!(!names.is_empty());
    for name in names {
        let (cache, project) = (Cache::new(), Project::with(HELLO));
        let call = project.call(&cache, &format!("{name} -c a.c -o a.o"));
        call.check().expect(&Outcome::Miss);
        call.check().expect(&Outcome::InvocationHit);
    }
}

#[test]
fn a_tool_by_its_path() {
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), Project::with(HELLO));
        let call =
            project.call(&cache, &format!("{} -c a.c -o a.o", tools::path_of(tool).display()));
        call.check().expect(&Outcome::Miss);
        call.check().expect(&Outcome::InvocationHit);
    }
}

#[test]
fn masquerade_by_symlink_and_by_copy() {
    for tool in tools::of_each_family() {
        for by_copy in [false, true] {
            let (mut cache, project) = (Cache::new(), Project::with(HELLO));
            let bin = cache.root().join("bin");
            fs::create_dir(&bin).unwrap();
            let link = bin.join(tool);
            if by_copy {
                let mut copy = cache.command("cp");
                assert!(copy.arg(tools::ibid()).arg(&link).status().unwrap().success());
            } else {
                symlink(tools::ibid(), &link).unwrap();
            }
            let call = |cache: &Cache| {
                let call = project.call(cache, &format!("{tool} -g -c a.c -o a.o"));
                call.through(Through::Masquerade(link.clone())).check()
            };
            call(&cache).expect(&Outcome::Miss);
            call(&cache).expect(&Outcome::InvocationHit);
            // First on PATH, as `ibid install` advises: the real tool must still be found behind it.
            let real = std::env::var("PATH").unwrap();
            cache.set("PATH", format!("{}:{real}", bin.display()));
            let compile = |cache: &Cache| {
                let mut compile = cache.command("sh");
                compile.args(["-c", &format!("{tool} -O1 -c a.c -o a.o")]);
                assert!(compile.current_dir(project.path()).output().unwrap().status.success());
            };
            let counted = cache.count(|| compile(&cache));
            assert_eq!(counted.outcome(), Outcome::Miss, "{tool}");
            let counted = cache.count(|| compile(&cache));
            assert!(counted.outcome().is_hit(), "{tool}");
        }
    }
}

#[test]
fn nested_calls() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let ibid = tools::ibid().display();
    project.write_program("outer", &format!("#!/bin/sh\nexec {ibid} gcc \"$@\"\n"));
    let counted = cache.count(|| {
        let mut compile = cache.ibid(["exec", "--", "./outer", "-c", "a.c", "-o", "a.o"]);
        assert!(compile.current_dir(project.path()).status().unwrap().success());
    });
    assert_eq!(counted.get("passed_through/nested"), 1, "{counted:?}");
    assert_eq!(counted.outcomes(), 2, "{counted:?}");
}

#[test]
fn clear_keeps_the_counters_and_zero_resets_them() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let call = project.call(&cache, "gcc -c a.c -o a.o");
    call.check().expect(&Outcome::Miss);
    call.check().expect(&Outcome::InvocationHit);
    cache.say(&["clear"]);
    let counters = cache.counters();
    assert_eq!((counters.get("misses"), counters.get("invocation_hits")), (1, 1));
    assert_eq!(counters.get("records"), 0);
    call.check().expect(&Outcome::Miss);
    cache.say(&["stats", "--zero"]);
    assert_eq!(cache.counters().outcomes(), 0);
    call.check().expect_hit();
}

#[test]
fn stats_has_every_key() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    project.call(&cache, "gcc -c a.c -o a.o").check();
    let stats: serde_json::Value = serde_json::from_str(&cache.say(&["stats", "--json"])).unwrap();
    for key in [
        "invocation_hits",
        "portable_hits",
        "misses",
        "stored",
        "tool_failures",
        "failure_hits",
        "evictions",
        "records",
        "blobs",
        "bytes_used",
        "bytes_max",
        "time_saved_ms",
    ] {
        assert!(stats[key].is_u64(), "{key}: {}", stats[key]);
    }
    for key in ["not_stored", "passed_through", "internal_errors"] {
        assert!(stats[key].is_object(), "{key}");
    }
    assert_eq!(stats["cache_dir"].as_str(), cache.dir().to_str());
    assert_eq!(stats["version"].as_str(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(stats["records"], 1);
    assert!(stats["bytes_used"].as_u64() > Some(0) && stats["bytes_max"].as_u64() > Some(0));
    for text in [cache.say(&["stats"]), cache.say(&["stats", "--json", "--zero"])] {
        assert!(!text.is_empty());
    }
}

#[test]
fn explain_says_what_differs() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let explain = |more: &[&str]| {
        let mut command = cache.ibid(["explain", "--", "gcc", "-c", "a.c", "-o", "a.o"]);
        let done = command.args(more).current_dir(project.path()).output().unwrap();
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let counted = cache.count(|| {
        assert_eq!(explain(&[]).split_whitespace().next(), Some("miss"));
    });
    assert_eq!(counted.outcome(), Outcome::Uncounted);
    assert!(!project.at("a.o").exists());
    project.call(&cache, "gcc -c a.c -o a.o").check().expect(&Outcome::Miss);
    assert_eq!(explain(&[]).split_whitespace().next(), Some("hit"));
    project.write("h.h", "#define H 2\n");
    let said = explain(&[]);
    assert_eq!(said.split_whitespace().next(), Some("miss"));
    assert!(said.contains("h.h"), "{said}");
}

#[test]
fn the_log_says_what_happened() {
    let (mut cache, project) = (Cache::new(), Project::with(HELLO));
    let log = cache.root().join("log");
    cache.set("IBID_LOG", log.clone());
    let call = project.call(&cache, "gcc -c a.c -o a.o");
    call.check().expect(&Outcome::Miss);
    let lines = fs::read_to_string(&log).unwrap().lines().count();
    assert!(lines >= 1);
    call.check().expect_hit();
    assert!(fs::read_to_string(&log).unwrap().lines().count() > lines);
    cache.set("IBID_LOG", "stderr");
    let mut compile = cache.ibid(["gcc", "-c", "a.c", "-o", "a.o"]);
    let done = compile.current_dir(project.path()).output().unwrap();
    assert!(done.status.success() && !done.stderr.is_empty());
}

/// Nothing of ours stays behind a build: no process, no file in the tree.
#[test]
fn no_daemon() {
    let (cache, project) = (Cache::new(), Project::with(HELLO));
    let mut compile = cache.ibid(["gcc", "-c", "a.c", "-o", "a.o"]);
    assert!(compile.current_dir(project.path()).status().unwrap().success());
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        let mark = cache.dir().into_os_string().into_encoded_bytes();
        assert!(
            !environ.windows(mark.len()).any(|window| window == mark),
            "{:?} stays",
            entry.path()
        );
    }
}

/// `make -j` gives its first child the real standard input and the others a broken one, as it comes.
#[test]
fn standard_input_that_is_not_read_does_not_count() {
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), Project::with(HELLO));
        let line = format!("{tool} -c a.c -o a.o");
        project.call(&cache, &line).check().expect(&Outcome::Miss);
        for stdin in [StdIn::Pipe(Vec::new()), StdIn::File("a.c".into()), StdIn::Null] {
            project.call(&cache, &line).stdin(stdin).check().expect_hit();
        }
    }
}

/// A result that was made with nobody to talk to is of no use to others, and the other way round.
#[test]
fn closed_output_and_error() {
    for tool in tools::present(tools::C) {
        let cache = Cache::new();
        let project = Project::with(&[("a.c", "int f(void) { int unused; return 1; }\n")]);
        let open = format!("{tool} -Wall -c a.c -o a.o");
        for redirection in ["2>&-", ">&-", ">&- 2>&-"] {
            let run = |launcher: &str| {
                let line = format!("{launcher}{open} {redirection}");
                let mut sh = cache.command("/bin/sh");
                let done = sh.arg("-c").arg(&line).current_dir(project.path()).output().unwrap();
                let object = project.at("a.o").exists().then(|| project.read("a.o"));
                let _ = std::fs::remove_file(project.at("a.o"));
                (done.status, done.stdout, done.stderr, object)
            };
            let launcher = format!("{} ", tools::ibid().display());
            let counted =
                cache.count(|| assert_eq!(run(&launcher), run(""), "{tool} {redirection}"));
            assert_eq!(counted.outcome(), passed("closed_stream"));
            project.call(&cache, &open).check();
            project.call(&cache, &open).check().expect_hit();
            assert_eq!(run(&launcher), run(""), "{tool} {redirection}, behind a hit");
        }
    }
}

/// What differs from run to run and cannot be compared; one outcome would be as good as another, so only the counting is
/// looked at, and that no two runs wrote the same.
#[test]
fn what_differs_from_run_to_run_is_not_stored() {
    let lines = [
        ("sh", "date +%N >o", true),
        ("bash", "echo $EPOCHREALTIME >o", true),
        ("sh", "head -c8 /dev/urandom >o", true),
        ("bash", "echo $RANDOM$RANDOM$RANDOM >o", true),
        ("sh", "echo $$ >o", true),
        ("bash", "echo $BASHPID >o", true),
        ("sh", "cat /proc/uptime >o", false),
        ("sh", "cat /proc/sys/kernel/random/uuid >o", true),
        ("sh", "readlink /proc/self >o", true),
        ("sh", "df . >o", false),
        ("sh", "uname -a >o", false),
    ];
    for (shell, line, differs) in lines.into_iter().filter(|(shell, ..)| tools::have(shell)) {
        let (cache, project) = (Cache::new(), Project::new());
        let mut seen = Vec::new();
        for _ in 0..3 {
            let mut call = cache.ibid(["exec", "--", shell, "-c", line]);
            let counted = cache.count(|| {
                let call = call.current_dir(project.path()).stdin(std::process::Stdio::null());
                assert!(call.status().unwrap().success(), "{line}");
            });
            assert_eq!(counted.hits(), 0, "{line}");
            seen.push(project.read("o"));
            project.remove("o");
        }
        seen.sort();
        seen.dedup();
        assert!(!differs || seen.len() == 3, "{line}: {seen:?}");
    }
}

/// The same calls in programs that are no shells, whose start-up asks for nothing of that.
#[test]
fn a_tool_that_asks_for_the_time_or_the_like() {
    let lines = [
        "mktemp tmp.XXXXXXXX",
        "dd if=/dev/urandom of=o bs=8 count=1 status=none",
        "cp /proc/uptime o",
        "cp /proc/self/stat o",
    ];
    for line in lines {
        let (cache, project) = (Cache::new(), Project::new());
        for _ in 0..3 {
            let mut call = cache.ibid(["exec", "--"]);
            call.args(line.split(' ')).current_dir(project.path());
            let call = call.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
            let counted = cache.count(|| assert!(call.status().unwrap().success(), "{line}"));
            assert_eq!(counted.hits(), 0, "{line}");
            let _ = fs::remove_file(project.at("o"));
        }
    }
}

#[test]
fn plain_tools_are_cached_if_they_are_forced() {
    for line in
        ["cp in o", "sed -n -e wo in", "sort -o o in", "ar rcDS o in", "dd if=in of=o status=none"]
    {
        let (cache, project) = (Cache::new(), Project::with(&[("in", "b\na\n")]));
        let call = project.call(&cache, line).through(Through::Exec);
        call.check().expect_miss();
        project.remove("o");
        call.check().expect_hit();
    }
}

/// A compiler that is a script is a shell first, and a shell asks for its number, the time and random numbers.
#[test]
fn a_compiler_behind_a_shell_script_is_cached() {
    for shell in ["sh", "bash", "dash"] {
        for tool in tools::present(C).into_iter().filter(|_| tools::have(shell)) {
            let (cache, project) = (Cache::new(), Project::with(HELLO));
            let real = tools::path_of(tool);
            let script = format!("#!/usr/bin/env {shell}\nexec {} \"$@\"\n", real.display());
            project.write_program(&format!("bin/{tool}"), &script);
            let call = project.call(&cache, &format!("./bin/{tool} -c a.c -o a.o"));
            call.check().expect(&Outcome::Miss);
            call.check().expect(&Outcome::InvocationHit);
        }
    }
}

/// The tool's environment is the one that it has without us.
#[test]
fn the_environment_is_not_altered() {
    for line in
        ["env | sort >o", "printf '%s\\n' \"$LD_PRELOAD.$IBID_OBSERVED\" >o; env -i env >>o"]
    {
        for preload in [None, Some(""), Some("/nowhere/a.so  /nowhere/b.so")] {
            let (cache, project) = (Cache::new(), Project::new());
            let run = |words: &[&str]| {
                let mut call = cache.command(words[0]);
                call.args(&words[1..]).args(["sh", "-c", line]).current_dir(project.path());
                if let Some(preload) = preload {
                    call.env("LD_PRELOAD", preload);
                }
                assert!(call.output().unwrap().status.success());
                let seen = project.read("o");
                project.remove("o");
                String::from_utf8(seen).unwrap()
            };
            let bare = run(&["/usr/bin/env"]);
            let ibid = tools::ibid().to_str().unwrap();
            assert_eq!(run(&[ibid, "exec", "--"]), bare, "{line} {preload:?}");
        }
    }
}
