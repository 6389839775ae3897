//! Policies against data files (`tests/policies/`), and against what the real drivers say they would do.
#![allow(clippy::disallowed_methods, reason = "tests run the real drivers")]

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use super::*;
use crate::compilers::names::family;
use crate::compilers::response::words;
use crate::env::WORKING_DIRECTORY;

const BOTH: &str = include_str!("../../tests/policies/both.txt");
const GCC: &str = include_str!("../../tests/policies/gcc.txt");
const CLANG: &str = include_str!("../../tests/policies/clang.txt");
const BINUTILS: &str = include_str!("../../tests/policies/binutils.txt");
const RUSTC: &str = include_str!("../../tests/policies/rustc.txt");

/// The lines of a data file: number, arguments, expected verdict.
fn cases(data: &str) -> impl Iterator<Item = (usize, Vec<OsString>, &str)> {
    data.lines().zip(1..).filter(|(line, _)| !line.is_empty() && !line.starts_with("# ")).map(
        |(line, number)| {
            let (command, verdict) = line.split_once("=> ").expect("a verdict");
            (number, words(command.as_bytes()), verdict)
        },
    )
}

fn expected(family: Family, verdict: &str) -> Decision {
    if let Some(reason) = verdict.strip_prefix("pass ") {
        let named = PassReason::ALL.iter().find(|known| known.name() == reason);
        return Decision::PassThrough(*named.expect("a reason"));
    }
    let said: Vec<String> = words(verdict.strip_prefix("cache ").expect("a verdict").as_bytes())
        .into_iter()
        .map(|word| word.into_string().expect("UTF-8"))
        .collect();
    let (output, facts) = said.split_first().expect("an output");
    let known = |fact: &String| {
        [
            "cpu",
            "metadata",
            "precompiled",
            "foreign",
            "stdin",
            "source",
            "question",
            "discarded",
            "link",
            "adds",
        ]
        .contains(&fact.as_str())
            || ["dep=", "private=", "unlisted="].iter().any(|start| fact.starts_with(start))
    };
    assert!(facts.iter().all(known), "{verdict}");
    let after = |start: &'static str| {
        facts.iter().filter_map(move |fact| fact.strip_prefix(start)).map(PathBuf::from)
    };
    let has = |fact: &str| facts.iter().any(|said| said == fact);
    Decision::Cache(Policy {
        primary_output: (output != "?").then(|| output.into()),
        depfile: after("dep=").next(),
        depends_on_cpu: has("cpu"),
        reads_metadata: has("metadata"),
        uses_precompiled: has("precompiled"),
        standard_input: match (has("source"), has("stdin")) {
            (true, _) => StandardInput::Source,
            (false, true) => StandardInput::Perhaps,
            (false, false) => StandardInput::Unread,
        },
        runs_foreign_code: has("foreign"),
        is_question: has("question"),
        discards_output: has("discarded"),
        links: has("link"),
        adds_to_outputs: has("adds"),
        private_trees: after("private=").collect(),
        unlisted: after("unlisted=").collect(),
        ..Policy::plain(family)
    })
}

/// Runs `act` in a new working directory with the response files that the data names.
fn in_directory(act: impl FnOnce()) {
    let _turn = WORKING_DIRECTORY.lock();
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in [
        ("one.rsp", "-c a.c\n"),
        ("out.rsp", "-o \"my dir/a.o\""),
        ("nest.rsp", "@one.rsp\n@out.rsp\n"),
        ("loop.rsp", "@loop.rsp"),
        ("native.rsp", "-march=native"),
        ("two.rsp", "-c\ta.c\r\nb.c\n"),
        ("quotes.rsp", "-c '-D' 'X=\"b.c\"' \"it's.c\" -I \\\nx.c ''-O2"),
        ("empty.rsp", ""),
        ("rustc.args", "a b.rs\n--crate-type\r\nlib\n-Cincremental=inc\n@two.rsp\n"),
    ] {
        fs::write(dir.path().join(name), text).expect("a file");
    }
    fs::create_dir(dir.path().join("dir.rsp")).expect("a directory");
    let before = std::env::current_dir().expect("a working directory");
    std::env::set_current_dir(dir.path()).expect("a working directory");
    act();
    std::env::set_current_dir(before).expect("a working directory");
}

fn check(family: Family, data: &str) {
    in_directory(|| {
        for (number, args, verdict) in cases(data) {
            let wanted = expected(family, verdict);
            assert_eq!(without_place(judge(family, &args)), wanted, "line {number}: {args:?}");
        }
    });
}

/// What the data do not say: sources and place have tests of their own.
fn without_place(decision: Decision) -> Decision {
    match decision {
        Decision::Cache(policy) => Decision::Cache(Policy {
            sources: Vec::new(),
            single_calls: Vec::new(),
            shows_directory: ShowsDirectory::Perhaps,
            takes_maps: false,
            first_object: None,
            outputs_may_be_renamed: false,
            output_directory: None,
            ..policy
        }),
        decision @ Decision::PassThrough(_) => decision,
    }
}

#[test]
fn sources_and_whether_the_directory_shows() {
    use ShowsDirectory::{Never, Perhaps, UnlessMapped};
    for (family, line, source, shows, takes_maps) in [
        (Family::Gcc, "-O2 -c d/a.c -o a.o", "d/a.c", Never, true),
        (Family::Gcc, "-g -c a.c", "a.c", UnlessMapped, true),
        (Family::Gcc, "-flto -c a.c", "a.c", Perhaps, false),
        (Family::Gcc, "-c a.S", "a.S", Never, false),
        (Family::Gcc, "-ffile-prefix-map=a=b -c a.c", "a.c", Perhaps, false),
        (Family::Clang, "-S -x c a.txt", "a.txt", Never, false),
        (Family::Clang, "-x cuda -c a.c", "a.c", Perhaps, false),
        (Family::Clang, "-c a.hip", "a.hip", Perhaps, false),
        (
            Family::Rustc,
            "--crate-type lib src/lib.rs --emit metadata",
            "src/lib.rs",
            Perhaps,
            false,
        ),
    ] {
        let Decision::Cache(policy) = judge(family, &words(line.as_bytes())) else {
            panic!("{line}: it is cached")
        };
        assert_eq!(policy.sources, [PathBuf::from(source)], "{line}");
        assert_eq!((policy.shows_directory, policy.takes_maps), (shows, takes_maps), "{line}");
    }
}

#[test]
fn gcc_policy() {
    check(Family::Gcc, BOTH);
    check(Family::Gcc, GCC);
}

#[test]
fn clang_policy() {
    // Clang may name a precompiled header otherwise; those lines say `-o`.
    check(Family::Clang, BOTH);
    check(Family::Clang, CLANG);
}

/// Each line begins with the tool's name.
#[test]
fn binutils_policy() {
    in_directory(|| {
        for (number, words, verdict) in cases(BINUTILS) {
            let (tool, args) = words.split_first().expect("a tool");
            let family = family(tool).expect("a tool that is known");
            let wanted = expected(family, verdict);
            let found = without_place(judge(family, args));
            assert_eq!(found, wanted, "line {number}: {words:?}");
        }
    });
}

#[test]
fn rustc_policy() {
    check(Family::Rustc, RUSTC);
}

/// What the driver would run, if it takes the command; every source is there.
fn planned(tool: &str, args: &[OsString]) -> Option<Vec<String>> {
    for arg in args.iter().filter(|arg| !arg.as_encoded_bytes().starts_with(b"-")) {
        let path = Path::new(arg);
        if path.is_relative() && !path.exists() && path.components().count() == 1 {
            fs::write(path, "").expect("a source");
        }
    }
    let output = Command::new(tool).arg("-###").args(args).output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let jobs =
        said.lines().filter(|line| line.starts_with(' ') && !line.starts_with(" (in-process"));
    // clang succeeds even if it complains.
    let takes_it = output.status.success() && !said.contains("error:");
    takes_it.then(|| jobs.map(str::to_owned).collect())
}

fn is_compile(job: &str) -> bool {
    ["/cc1", "-cc1", " as ", "/as ", "/as\" ", "/f951", "/gnat1"]
        .iter()
        .any(|name| job.contains(name))
}

fn is_link(job: &str) -> bool {
    ["/collect2", "/ld\" ", "/ld ", "/ld.", "/lld"].iter().any(|name| job.contains(name))
}

/// The word after `option` in each job, without repetition.
fn values(jobs: &[String], option: &str) -> Vec<String> {
    let value = |job: &String| {
        let mut words = job.split_whitespace().map(|word| word.trim_matches('"'));
        words.find(|word| *word == option)?;
        words.next().map(str::to_owned)
    };
    // With -fcompare-debug gcc compiles the source once more, as `a.gk.c`.
    let mut all: Vec<String> =
        jobs.iter().filter_map(value).map(|name| name.replace(".gk.", ".")).collect();
    all.dedup();
    all
}

fn compare_with_driver(tool: &str, family: Family, data: [&str; 2]) {
    if Command::new(tool).arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "{tool} is missing");
        return;
    }
    let mut compared = 0;
    in_directory(|| {
        for (number, args, _) in data.into_iter().flat_map(cases) {
            let verdict = judge(family, &args);
            let has_responses = args.iter().any(|arg| arg.as_encoded_bytes().starts_with(b"@"));
            if has_responses || verdict == Decision::PassThrough(PassReason::Query) {
                continue;
            }
            let Some(jobs) = planned(tool, &args) else { continue };
            let links = jobs.iter().any(|job| is_link(job));
            match verdict {
                Decision::Cache(policy) => {
                    assert_eq!(links, policy.links, "{tool}, line {number}: {jobs:#?}");
                    let compiles = jobs.iter().any(|job| is_compile(job));
                    assert!(links || compiles, "line {number}: {jobs:#?}");
                    let option =
                        if family == Family::Gcc { "-dumpbase" } else { "-main-file-name" };
                    let is_one = policy.primary_output.is_some() && !links;
                    let sources = values(&jobs, option).len();
                    assert!(!is_one || sources <= 1, "line {number}: {jobs:#?}");
                }
                Decision::PassThrough(_) => continue,
            }
            compared += 1;
        }
    });
    assert!(compared > 60, "{tool}: only {compared} lines compared");
}

#[test]
fn gcc_would_do_as_judged() {
    compare_with_driver("gcc", Family::Gcc, [BOTH, GCC]);
}

#[test]
fn clang_would_do_as_judged() {
    compare_with_driver("clang", Family::Clang, [BOTH, CLANG]);
}

#[test]
fn families_by_name() {
    let gcc = "gcc g++ cc c++ c89 c99 c99-gcc c89-gcc gcc-12 gcc-12.2 gcc12 g++-9 x86_64-linux-gnu-gcc \
        aarch64-linux-gnu-g++-12 x86_64-linux-gnu-cc x86_64-w64-mingw32-gcc-posix \
        x86_64-w64-mingw32-g++-win32 arm-none-eabi-gcc musl-gcc /usr/bin/gcc ./cc ../x/g++-12 cc-12";
    let clang = "clang clang++ clang-14 clang++-14 clang15 clang-18.1 /usr/lib/llvm-14/bin/clang \
        x86_64-linux-gnu-clang aarch64-linux-android21-clang++ armv7a-linux-androideabi-clang";
    let none = "gcc-ar gcc-nm gcc-ranlib gcc-ar-12 x86_64-linux-gnu-gcc-ar gcov gcov-12 gccgo gcc- -gcc \
        clang-format clang-format-14 clang-cpp clang-cl clangd clang-check clang-scan-deps \
        c++filt cpp tcc icc nvcc mpicc cl cc1 cc1plus colorgcc git-cc ibid ibid-gcc 12 -12 ccache rustdoc rustc- cargo ranlib \
        gcc.exe.c ggcc a+b-gcc";
    let of = |name: &str| family(OsStr::new(name));
    let rustc = "rustc clippy-driver /x/bin/rustc rustc-1.85";
    let linkers = "ld ld.bfd ld.lld-14 x86_64-linux-gnu-ld /usr/bin/mold ld.mold";
    let archivers = "ar llvm-ar llvm-ar-14 aarch64-linux-gnu-ar";
    let copiers = "strip llvm-strip-14 x86_64-linux-gnu-objcopy";
    let known = [
        (gcc, Family::Gcc),
        (clang, Family::Clang),
        (rustc, Family::Rustc),
        (linkers, Family::Linker),
        (archivers, Family::Archiver),
        (copiers, Family::Copier),
    ];
    let known = known.map(|(names, family)| (names, Some(family)));
    for (names, expected) in known.into_iter().chain([(none, None)]) {
        for name in names.split_whitespace() {
            assert_eq!(of(name), expected, "{name}");
        }
    }
    assert_eq!((of(""), of("/"), of("..")), (None, None, None));
}

#[test]
fn names_to_be_called_by() {
    let is = |name: &str| is_tool_name(OsStr::new(name));
    for name in ["gcc", "/x/clang++-14", "rustc", "clippy-driver", "emcc", "em++", "cpp-12"] {
        assert!(is(name), "{name}");
    }
    for name in ["ibid", "/usr/bin/ibid", "ibid-gcc", "ibid-0.1", "ibid2", "my-ibid", "", "sh"] {
        assert!(!is(name), "{name}");
    }
}

#[test]
fn variables_that_cannot_matter() {
    let policy = |family, args: &[&str]| {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        match judge(family, &args) {
            Decision::Cache(policy) => policy,
            Decision::PassThrough(reason) => panic!("{reason:?}"),
        }
    };
    let gcc = policy(Family::Gcc, &["-c", "a.c"]);
    let ignores = |policy: &Policy, name: &str| policy.ignores_variable(name.as_ref(), &[]);
    assert!(ignores(&gcc, "TMPDIR") && ignores(&gcc, "MAKEFLAGS"));
    for name in ["CPATH", "LANG", "SOURCE_DATE_EPOCH", "GCC_EXEC_PREFIX", "PWD", "PATH", "TERM"] {
        assert!(!ignores(&gcc, name), "{name}");
    }
    let text = |policy: &Policy, name: &str| policy.only_for_text(name.as_ref(), &[]);
    assert!(text(&gcc, "TERM") && !text(&gcc, "LANG"));
    let plugin = policy(Family::Gcc, &["-c", "a.c", "-fplugin=p.so"]);
    assert!(plugin.runs_foreign_code && !ignores(&plugin, "TMPDIR"));
    let rustc = policy(Family::Rustc, &["a.rs"]);
    // The linker asks for them, or the crate.
    let (cc, itself) = (Path::new("/usr/bin/cc"), Path::new("/usr/bin/rustc"));
    for name in ["TMPDIR", "CARGO_MAKEFLAGS"] {
        assert!(rustc.ignores_variable(name.as_ref(), &[(cc, 7)]), "{name}");
        assert!(!rustc.ignores_variable(name.as_ref(), &[(cc, 1), (itself, 2)]), "{name}");
    }
    assert!(rustc.ignores_variable("CARGO_MAKEFLAGS".as_ref(), &[(itself, 1)]));
    assert!(rustc.only_for_text("TERM".as_ref(), &[(cc, 1)]));
    assert!(!rustc.only_for_text("TERM".as_ref(), &[(itself, 1)]));
    let unknown = policy(Family::Unknown, &[]);
    assert!(!ignores(&unknown, "TMPDIR") && !text(&unknown, "TERM"));
    assert!(unknown.depends_on_cpu && unknown.reads_metadata);
    assert_eq!(unknown.standard_input, StandardInput::Perhaps);
}

#[test]
fn programs_that_ask_by_name() {
    let by_name = |image: &str| reads_variables_by_name(Path::new(image));
    for image in [
        "/usr/lib/gcc/x86_64-linux-gnu/12/cc1plus",
        "/usr/bin/x86_64-linux-gnu-as",
        "/usr/bin/x86_64-linux-gnu-gcc-12",
        "/usr/lib/llvm-14/bin/clang",
        "/usr/bin/ld.lld-14",
        "/usr/bin/x86_64-linux-gnu-ld.bfd",
        "/usr/libexec/collect2",
        "/x/toolchains/stable/bin/rustc",
        "/x/bin/clippy-driver",
        "/x/bin/rustup",
        "/usr/lib/gcc/x86_64-linux-gnu/12/liblto_plugin.so",
    ] {
        assert!(by_name(image), "{image}");
    }
    for image in [
        "/bin/sh",
        "/usr/bin/python3.11",
        "/usr/bin/env",
        "/usr/bin/perl",
        "",
        "/x/libmacros-1f.so",
    ] {
        assert!(!by_name(image), "{image}");
    }
}

#[test]
fn depfiles_are_text() {
    let Decision::Cache(policy) =
        judge(Family::Gcc, &["-c", "a.c", "-MD", "-MF", "deps"].map(OsString::from))
    else {
        panic!("not cached");
    };
    assert!(policy.is_text_output(Path::new("deps")) && policy.is_text_output(Path::new("x/a.d")));
    assert!(!policy.is_text_output(Path::new("a.o")));
}

#[test]
fn languages() {
    for (tool, source, expected) in [
        ("gcc", "a.c", Some("C")),
        ("aarch64-linux-gnu-gcc-12", "../a.C", Some("C++")),
        ("g++-12", "a.c", Some("C++")),
        ("clang++", "a.s", Some("assembler")),
        ("em++", "-", Some("C++")),
        ("gcc", "-", None),
        ("gcc", "prog", None),
        ("gcc", "", None),
        ("rustc", "", Some("Rust")),
        ("clippy-driver", "src/lib.rs", Some("Rust")),
        ("clang-tidy", "a.cc", Some("C++")),
        ("moc", "a.h", Some("C++")),
        ("protoc", "a.proto", Some("Protocol Buffers")),
        ("ar", "liba.a", None),
        ("what", "a.c", Some("C")),
    ] {
        assert_eq!(language(OsStr::new(tool), Path::new(source)), expected, "{tool} {source}");
    }
}

/// The calls for each source of a call of clang's.
fn single_calls(line: &str) -> Vec<String> {
    let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    let Decision::Cache(policy) = judge(Family::Clang, &args) else { panic!("not cached: {line}") };
    let join = |call: Vec<OsString>| call.join(OsStr::new(" ")).into_string().expect("UTF-8");
    policy.single_calls.into_iter().map(join).collect()
}

#[test]
fn a_call_for_each_of_several_sources() {
    for (line, expected) in [
        ("-c a.c b.c", &["-c a.c", "-c b.c"][..]),
        ("a.cc -I inc -c d/b.cpp -g", &["a.cc -I inc -c -g", "-I inc -c d/b.cpp -g"]),
        ("-S -include x.c -- a.c b.c", &["-S -include x.c -- a.c", "-S -include x.c -- b.c"]),
        ("-c a.S b.S c.S", &["-c a.S", "-c b.S", "-c c.S"]),
    ] {
        assert_eq!(single_calls(line), expected, "{line}");
    }
}

#[test]
fn calls_of_several_sources_that_are_one() {
    for line in [
        "-c a.c",
        "-c a.c b.cc",
        "-c a.c d/a.c",
        "-c a.c a.c",
        "-c a.c b.o c.c",
        "-x c -c a.c b.c",
        "-c -xc a.c b.c",
        "-c @r a.c b.c",
        "-c -MJ x a.c b.c",
        "-c -frecord-gcc-switches a.c b.c",
        "-c -grecord-command-line a.c b.c",
        "-c --config=x a.c b.c",
        "-c --language=c a.c b.c",
        "-c -lm a.c b.c",
        "-c -specs=x a.c b.c",
        "-c a.f90 b.f90",
        "-c a.i b.i",
    ] {
        assert_eq!(single_calls(line), [""; 0], "{line}");
    }
}
