//! Failing runs that are not stored: what failed for want of something, was killed, or is no compiler's.

use crate::cache::{Cache, Outcome};
use crate::call::{Call, Through};
use crate::failures::{project, source_of};
use crate::project::Project;
use crate::rustc;
use crate::tools::{self, C, GCC};

#[track_caller]
pub fn never_repeats(call: &Call) {
    for _ in 0..4 {
        let seen = call.check();
        assert!(!matches!(seen.outcome, Outcome::FailureHit), "{:?}", seen.done);
        assert_ne!(seen.done.code, Some(0), "{:?}", seen.done);
    }
}

/// What fails for want of something, or of another program.
#[test]
fn never_stored() {
    let as_fails = "void f(void) { __asm__(\"no such instruction\"); }\n";
    for tool in tools::present(GCC) {
        let (cache, project) = (Cache::new(), Project::with(&[("a.c", as_fails)]));
        never_repeats(&project.call(&cache, &format!("{tool} -pipe -c a.c -o a.o")));
        // Beside an error of the source.
        project.write("a.c", format!("{as_fails}int a = nothing;\n"));
        project.call(&cache, &format!("{tool} -pipe -c a.c -o a.o")).check();
    }
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), project());
        never_repeats(&project.call(&cache, &format!("{tool} -c missing.c -o a.o")));
        never_repeats(&project.call(&cache, &format!("{tool} --no-such-option -c a.c -o a.o")));
        never_repeats(
            &project.call(&cache, &format!("{tool} -c {} -o no/a.o -Dnothing=1", source_of(tool))),
        );
        let limited = project.call(&cache, &format!("{tool} -c {} -o a.o", source_of(tool)));
        never_repeats(&limited.after("ulimit -v 4000000"));
    }
    if let Some(scene) = rustc::Scene::new(
        "#[link(name = \"no_such\")] extern \"C\" { fn f(); }\nfn main() { unsafe { f() } }\n",
        "",
    ) {
        for _ in 0..3 {
            let counted = scene.cache.count(|| {
                let mut command = scene.cache.ibid(std::iter::once(&scene.tool).chain(&scene.args));
                let done = command.current_dir(scene.project.path()).output().unwrap();
                assert_eq!(done.status.code(), Some(1));
            });
            assert_eq!(counted.outcome(), Outcome::ToolFailure);
        }
    }
}

#[test]
fn programs_that_no_policy_knows() {
    let (cache, project) = (Cache::new(), project());
    for status in [1, 2] {
        let script = format!("#!/bin/sh\necho 'a.c:1:2: error: x' >&2; exit {status}\n");
        for name in ["tool", "gcc"] {
            project.write_program(name, &script);
            let line = format!("./{name} -c a.c -o a.o");
            never_repeats(&project.call(&cache, &line).through(Through::Exec));
        }
        never_repeats(&project.call(&cache, "./gcc -c a.c -o a.o"));
    }
    // The compiler itself behind a script.
    if tools::have("gcc") {
        let gcc = tools::path_of("gcc");
        project.write_program("gcc", &format!("#!/bin/sh\nexec {} \"$@\"\n", gcc.display()));
        never_repeats(&project.call(&cache, "./gcc -c a.c -o a.o"));
    }
}

#[test]
fn plugins() {
    if !tools::have("gcc") {
        return;
    }
    let (cache, project) = (Cache::new(), project());
    project.write(
        "p.c",
        "int plugin_is_GPL_compatible; int plugin_init(void *a, void *b) { return 0; }\n",
    );
    project.shell(&cache, "gcc -shared -fPIC p.c -o p.so");
    never_repeats(&project.call(&cache, "gcc -fplugin=./p.so -c a.c -o a.o"));
}

/// A compiler that found errors, and was killed then: the driver says so, with status 1.
#[test]
fn killed_after_its_errors() {
    if !tools::have("g++") {
        return;
    }
    let (cache, project) = (Cache::new(), Project::new());
    project.write(
        "a.cc",
        "int a = nothing;\nconstexpr long f() { long s = 0; for (long i = 0; i < 2000000000; ++i) s ^= i; return s; }\n\
         constexpr long v = f();\n",
    );
    let flags = "-fconstexpr-loop-limit=2147483647 -fconstexpr-ops-limit=99999999999";
    for more in ["", "-pipe"] {
        let call = project.call(&cache, &format!("g++ -std=c++17 {flags} {more} -c a.cc -o a.o"));
        let call = call.after("ulimit -t 1");
        for _ in 0..3 {
            let seen = call.check();
            assert_eq!(seen.outcome, Outcome::ToolFailure);
            assert!(
                seen.done.stderr.contains("error: ") && seen.done.stderr.contains("terminated"),
                "{seen:?}"
            );
        }
    }
}

/// Too few descriptors for what is included, and then enough.
#[test]
fn too_few_descriptors() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::new());
        for number in 0..20 {
            let next = format!("#include \"h{}.h\"\n", number + 1);
            project.write(&format!("h{number}.h"), next);
        }
        project.write("h20.h", "int a;\n");
        project.write("a.c", "#include \"h0.h\"\n");
        let line = format!("{tool} -c a.c -o a.o");
        for few in [4, 5, 6, 7, 8, 10, 12, 16] {
            for _ in 0..3 {
                let seen = project.call(&cache, &line).after(&format!("ulimit -n {few}")).check();
                assert_ne!(seen.outcome, Outcome::FailureHit, "{few}: {:?}", seen.done);
            }
        }
        assert_eq!(project.call(&cache, &line).check().done.code, Some(0));
    }
}

/// A full file system for the outputs and the temporary files, and then room in it. rustc says nothing of a dep-info that
/// it could not write.
#[test]
fn full_disks() {
    let bin = rustc::toolchain().map(|bin| bin.join("rustc").display().to_string());
    if !tools::is_root() || !["unshare", "mount"].into_iter().all(tools::have) {
        return tools::skip("mounting needs root");
    }
    let c = "#warning x\nint a[4000] = { 1 };\n";
    let rust = "#![deny(warnings)]\nfn unused() {}\nfn main() {}\n";
    let c_lines = [
        "-c",
        "-pipe -c",
        "-pipe -MD -c",
        "-MD -MF full/a.d -c",
        "-S",
        "-Werror -MD -c",
        "-Werror -pipe -MD -c",
    ];
    let rust_lines = ["--emit=dep-info,link", "--emit=dep-info,metadata --error-format=json"];
    // This one succeeds.
    let question = "--crate-type lib --emit=dep-info ok.rs -o full/a.d";
    for tool in tools::of_each_family().into_iter().map(str::to_owned).chain(bin) {
        let (cache, project) = (rustc::cache(), Project::with(&[("full/keep", "")]));
        let is_rust = tool.ends_with("rustc");
        let source = if is_rust { "a.rs" } else { source_of(&tool) };
        project.write(source, if is_rust { rust } else { c });
        project.write("ok.rs", "pub fn f() {}\n");
        let lines: &[&str] = if is_rust { &rust_lines } else { &c_lines };
        let run = format!("\"$ibid\" \"$tool\" $flags {source} -o full/a.o");
        let each = |act: &str| -> String {
            let lines: Vec<String> =
                lines.iter().map(|flags| format!("flags='{flags}'; {act}")).collect();
            lines.join("\n")
        };
        let script = format!(
            r#"
            mount --make-rprivate / && mount -t tmpfs -o size=16k none full || exit 77
            head -c 16000 /dev/zero >full/ballast
            export TMPDIR=$PWD/full
            {}
            test $tool = "${{tool%rustc}}" || for round in 1 2; do "$ibid" "$tool" {question}; done
            "$ibid" stats --json >full.json || exit 4
            mount -o remount,size=16m none full; rm full/ballast
            test $tool = "${{tool%rustc}}" || {{ "$ibid" "$tool" {question}; test -s full/a.d || exit 7; }}
            {}
            "#,
            each(&format!("for round in 1 2 3; do {run} >>said 2>&1; rm -f full/a*; done")),
            each(&format!(
                "{run} >ours 2>&1; ours=$?; cp full/a.d ours.d 2>ours.none; rm -f full/a*; \
                 \"$tool\" $flags {source} -o full/a.o >bare 2>&1; test $? = $ours && cmp ours bare || exit 5; \
                 if test -e full/a.d; then cmp full/a.d ours.d || exit 6; fi; rm -f full/a* ours.d"
            )),
        );
        let mut command = cache.command("unshare");
        command.args(["-m", "sh", "-c", &script]).current_dir(project.path());
        command.env("ibid", tools::ibid()).env("tool", &tool);
        let done = command.output().unwrap();
        if done.status.code() == Some(77) {
            return tools::skip("cannot mount");
        }
        assert!(done.status.success(), "{tool}: {done:?}");
        let stats: serde_json::Value = serde_json::from_slice(&project.read("full.json")).unwrap();
        assert_eq!(stats["failure_hits"], 0, "{tool}");
    }
}

/// A header that may not be read, and then may.
#[test]
fn missing_permission() {
    if !tools::is_root() || !tools::have("setpriv") {
        return tools::skip("becoming another user needs root and setpriv");
    }
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::new());
        project.write("a.c", "#include \"h.h\"\nint a = H;\n");
        project.write("h.h", "#define H 1\n");
        let script = r#"
            chown -R 65534:65534 "$1" . && chmod 000 h.h
            as() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
            for round in 1 2 3; do as "$ibid" "$tool" -c a.c -o a.o >said 2>&1 && exit 3; done
            as "$ibid" stats --json >stats.json || exit 4
            chmod 644 h.h
            as "$ibid" "$tool" -c a.c -o a.o || exit 5
        "#;
        let mut command = cache.command("sh");
        command.args(["-c", script, "sh"]).arg(cache.root()).current_dir(project.path());
        command.env("ibid", tools::ibid()).env("tool", tool);
        let done = command.output().unwrap();
        if done.status.code() == Some(4) {
            return tools::skip("another user cannot reach the program or the cache");
        }
        assert!(done.status.success(), "{tool}: {done:?}");
        let stats: serde_json::Value = serde_json::from_slice(&project.read("stats.json")).unwrap();
        assert_eq!(stats["failure_hits"], 0, "{tool}");
    }
}
