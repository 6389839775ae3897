//! Results that are only text: preprocessed sources, lists of headers, checks of the syntax, objects that nobody wants.
//!
//! Where the text goes must not show: a pipe, one for both, a terminal, a file, `/dev/null`.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::process::Command;

use crate::cache::{Cache, Outcome};
use crate::call::{StdIn, StdOut, Through};
use crate::cases;
use crate::project::Project;
use crate::tools::{self, ALL, C};

const FILES: &[(&str, &str)] = &[
    ("a.c", "#include \"h.h\"\n#include <stddef.h>\n#warning said by it\nint a = H;\n"),
    ("b.c", "#include \"h.h\"\nint b = H;\n"),
    ("h.h", "#define H 1\n"),
];

/// Commands whose text, or a part of it, is the result.
const LINES: &[&str] = &[
    "-E a.c",
    "-E -P -C a.c",
    "-E -dM a.c",
    "-E -dD b.c",
    "-E a.c -o a.i",
    "-E a.c -o -",
    "-E a.c b.c",
    "-E h.h",
    "-E -MD a.c -o a.i",
    "-E -MD -MF a.d b.c",
    "-M a.c",
    "-MM a.c b.c",
    "-MM -MF a.d a.c",
    "-MM -MP -MT x a.c -o a.d",
    "-MM -MG a.c",
    "-fsyntax-only a.c",
    "-fsyntax-only -Wall b.c",
    "-fsyntax-only -MD -MF a.d b.c",
    "-S b.c -o -",
    "-c a.c b.c",
    "-S a.c b.c",
    "-H -E b.c",
];

#[test]
fn every_kind_is_a_hit() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::with(FILES));
        for line in LINES {
            let call = project.call(&cache, &format!("{tool} {line}"));
            let first = call.check();
            assert_eq!(first.outcome, Outcome::Miss, "{tool} {line}: {:?}", first.done);
            call.check().expect(&Outcome::InvocationHit);
            project.touch("h.h");
            call.check().expect_hit();
            call.check().expect(&Outcome::InvocationHit);
        }
    }
}

#[test]
fn wherever_the_text_goes() {
    for tool in tools::present(C) {
        for stdout in [StdOut::Pipes, StdOut::Merged, StdOut::Terminal(80)] {
            let (cache, project) = (Cache::new(), Project::with(FILES));
            for line in ["-E a.c", "-MM a.c", "-fsyntax-only a.c"] {
                let call = project.call(&cache, &format!("{tool} {line}")).stdout(stdout);
                call.check().expect(&Outcome::Miss);
                call.check().expect(&Outcome::InvocationHit);
            }
        }
    }
}

/// Into a file, behind what is in it, to `/dev/null`, to a pipe whose reader goes.
#[test]
fn text_into_files() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::with(FILES));
        let ibid = tools::ibid().display();
        let lines = [
            "@ -E a.c 2>t2 >t1; echo $? >>t1",
            "echo x >t1; @ -E b.c >>t1",
            "@ -E a.c >t1 2>&1",
            "@ -M b.c >/dev/null; echo $? >t1",
            "@ -E b.c | head -c 7 >t1",
            "{ @ -E b.c; echo end; } >t1",
        ];
        for line in lines {
            let run = |wrapper: &str| {
                project.shell(&cache, &line.replace('@', &format!("{wrapper} {tool}")));
                ["t1", "t2"].map(|name| fs::read(project.at(name)).unwrap_or_default())
            };
            let bare = run("");
            for _ in 0..3 {
                assert!(run(&ibid.to_string()) == bare, "{tool}: {line}");
            }
        }
        assert!(cache.counters().hits() >= 10, "{:?}", cache.counters());
    }
}

#[test]
fn a_source_on_standard_input() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::with(FILES));
        for line in ["-E -", "-E -dM -", "-x c -E - -o a.i", "-x c -fsyntax-only -", "- -E -P"] {
            let call = |text: &str| {
                let stdin = StdIn::Pipe(format!("#include \"h.h\"\nint {text} = H;\n").into());
                project.call(&cache, &format!("{tool} {line}")).stdin(stdin)
            };
            call("one").check().expect(&Outcome::Miss);
            call("two").check().expect(&Outcome::Miss);
            call("one").check().expect(&Outcome::InvocationHit);
        }
        let nothing = project.call(&cache, &format!("{tool} -dM -E -"));
        nothing.check();
        nothing.check().expect(&Outcome::InvocationHit);
        let closed = project.call(&cache, &format!("{tool} -E -")).stdin(StdIn::Closed);
        closed.check();
        closed.check();
        let file = project.call(&cache, &format!("{tool} -E -")).stdin(StdIn::File("b.c".into()));
        file.check().expect(&Outcome::Miss);
        file.check().expect(&Outcome::InvocationHit);
    }
}

/// A text that is long is kept; one that is too long is not, and is passed on all the same.
#[test]
fn long_texts() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::new());
        for (megabytes, is_kept) in [(5, true), (17, false)] {
            let line = format!("int a[] = {{ {} }};\n", "1, ".repeat(200));
            project.write("a.c", line.repeat((megabytes << 20) / line.len()));
            let call = project.call(&cache, &format!("{tool} -E -P a.c"));
            let first = call.check().outcome;
            let expected = Outcome::NotStored("too_much_text".into());
            assert_eq!(first, if is_kept { Outcome::Miss } else { expected }, "{tool}");
            assert_eq!(call.check().outcome.is_hit(), is_kept, "{tool}");
        }
    }
}

/// What `/dev/null` takes is no output. In a namespace of its own, where a compiler that replaces it does no harm.
#[test]
fn what_goes_to_the_null_device() {
    if !tools::is_root() || !tools::have("unshare") {
        return;
    }
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::with(FILES));
        let ibid = tools::ibid().display();
        let lines = ["-c a.c", "-S b.c", "-E b.c", "-fsyntax-only b.c", "-c -MD -MF b.d b.c"];
        let mut script = "mount --bind /dev/null /dev/null || exit 9\n".to_owned();
        for (at, line) in lines.iter().enumerate() {
            for wrapper in ["", &*format!("{ibid} "), &*format!("{ibid} ")] {
                let _ = writeln!(
                    script,
                    "{wrapper}{tool} {line} -o /dev/null >out.{at} 2>&1; echo $? >>out.{at}; \
                     [ -f b.d ] && cat b.d >>out.{at}; rm -f b.d; \
                     [ -f bare.{at} ] || cp out.{at} bare.{at}; cmp out.{at} bare.{at} || exit 8"
                );
            }
        }
        script += "[ -c /dev/null ] || exit 7\n";
        if tools::is_gcc(tool) {
            // Where it is a plain file, it is an output after all.
            let _ = writeln!(
                script,
                "touch file; umount /dev/null; mount --bind file /dev/null; \
                 {ibid} {tool} -c b.c -o /dev/null; [ -s /dev/null ] || exit 6"
            );
        }
        project.write("script.sh", script);
        let mut shell = cache.command("unshare");
        let done = shell.args(["-m", "sh", "script.sh"]).current_dir(project.path()).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{tool}: {done:?}");
        let counters = cache.counters();
        assert_eq!(counters.hits(), 5, "{tool}: {counters:?}");
    }
}

/// What cannot be given again: a way out that is no file and no stream of ours.
#[test]
fn what_still_passes_through() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::with(FILES));
        let passed = |reason: &str| Outcome::PassedThrough(reason.to_owned());
        for (line, reason) in [
            ("-MM -MF /dev/stderr a.c", "output_not_a_file"),
            ("-E -v a.c", "query"),
            ("-E -x c /dev/stdin", "standard_input"),
        ] {
            let line = format!("{tool} {line}");
            project.call(&cache, &line).check().expect(&passed(reason));
        }
        project.write("time.c", "const char *t = __TIME__;\n");
        for _ in 0..2 {
            let counted = cache.count(|| {
                let mut run = cache.ibid([tool, "-E", "time.c"]);
                run.current_dir(project.path()).output().unwrap();
            });
            assert_eq!(counted.outcome(), Outcome::NotStored("used_time".into()), "{tool}");
        }
    }
}

/// A failing check of the syntax says the same each time, and is no hit.
#[test]
fn failures() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::with(&[("a.c", "int a = ;\n")]));
        for line in ["-fsyntax-only a.c", "-E none.c", "-MM none.c", "-E a.c -o none/a.i"] {
            for _ in 0..3 {
                project.call(&cache, &format!("{tool} {line}")).check();
            }
        }
        assert_eq!(cache.counters().sum("internal_errors"), 0);
    }
}

/// On a full disk the tool says what there is to say.
#[test]
fn a_disk_that_is_full() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::with(FILES));
        for _ in 0..2 {
            project.call(&cache, &format!("{tool} -E b.c")).check();
        }
        let run = |program: &mut Command| {
            let full = File::options().write(true).open("/dev/full").unwrap();
            let done = program.current_dir(project.path()).stdout(full).output().unwrap();
            // clang says at which addresses it was.
            let said = String::from_utf8(done.stderr).unwrap();
            (done.status, said.lines().next().map(str::to_owned))
        };
        let bare = run(cache.command(tool).args(["-E", "b.c"]));
        let ours = run(&mut cache.ibid([tool, "-E", "b.c"]));
        assert_eq!(ours, bare, "{tool}");
    }
}

/// Through a link of the tool's name, as under `PATH`.
#[test]
fn by_another_name() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::with(FILES));
        project.symlink(tools::ibid().to_str().unwrap(), &format!("bin/{tool}"));
        let link = project.at(format!("bin/{tool}"));
        let call =
            project.call(&cache, &format!("{tool} -E b.c")).through(Through::Masquerade(link));
        call.check().expect(&Outcome::Miss);
        call.check().expect(&Outcome::InvocationHit);
    }
}

cases! {
    text_header_changes: ALL,
        |s| { s.source("", "#include \"h.h\"\nint a = H;\n"); s.write("h.h", "#define H 1\n"); let name = s.source_name(); s.args(&format!("-E {name}")); },
        |s| { s.write("h.h", "#define H 2\n"); };
    text_header_appears_earlier: ALL,
        |s| { s.source("", "#include <h.h>\nint a = H;\n"); s.write("two/h.h", "#define H 1\n"); s.mkdir("one"); let name = s.source_name(); s.args(&format!("-Ione -Itwo -E {name}")); },
        |s| { s.write("one/h.h", "#define H 2\n"); };
    text_list_of_headers: ALL,
        |s| { s.source("", "#include <h.h>\nint a = H;\n"); s.write("two/h.h", "#define H 1\n"); s.mkdir("one"); let name = s.source_name(); s.args(&format!("-Ione -Itwo -MM {name}")); },
        |s| { s.write("one/h.h", "#define H 2\n"); };
    text_list_of_several: ALL,
        |s| { s.source("", "int a;\n"); s.write("b.c", "#include \"h.h\"\n"); s.write("h.h", ""); s.write("i.h", ""); let name = s.source_name(); s.args(&format!("-MM {name} b.c")); },
        |s| { s.write("h.h", "#include \"i.h\"\n"); };
    text_missing_header_appears: ALL,
        |s| { s.source("", "#include \"h.h\"\nint a;\n"); let name = s.source_name(); s.args(&format!("-MM -MG {name}")); },
        |s| { s.write("i.h", ""); s.write("h.h", "#include \"i.h\"\n"); };
    text_syntax_warning: ALL,
        |s| { s.source("", "#include \"h.h\"\nint a;\n"); s.write("h.h", ""); let name = s.source_name(); s.args(&format!("-fsyntax-only {name}")); },
        |s| { s.write("h.h", "#warning now\n"); };
    text_macro_of_a_variable: C,
        |s| { s.write("one/h.h", "#define H 1\n"); s.write("two/h.h", "#define H 2\n"); s.source("", "#include <h.h>\nint a = H;\n"); s.args("-E a.c"); s.env("CPATH", "{root}/one"); },
        |s| { s.env("CPATH", "{root}/two"); };
    text_macros_of_nothing: C,
        |s| { s.args("-dM -E -x c /dev/null"); },
        |s| { s.args("-dM -E -x c /dev/null -O2"); };
    text_output_of_preprocessing: C,
        |s| { s.source("", "#include \"h.h\"\nint a = H;\n"); s.write("h.h", "#define H 1\n"); s.args("-E a.c -o a.i"); },
        |s| { s.write("h.h", "#define H 2\n"); };
    text_several_objects: C,
        |s| { s.source("", "#include \"h.h\"\nint a = H;\n"); s.write("b.c", "#include \"h.h\"\nint b = H;\n"); s.write("h.h", "#define H 1\n"); s.args("-c a.c b.c"); },
        |s| { s.write("h.h", "#define H 2\n"); };
}
