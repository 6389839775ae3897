//! Changes that cannot matter are no misses: settings, the loader's cache, new times of precompiled headers, equal files.
//!
//! And their neighbours that do matter are none the less seen.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::cache::{Cache, Outcome};
use crate::call::Through;
use crate::project::Project;
use crate::tools::{self, C, CXX};

const HIT: Outcome = Outcome::InvocationHit;
const LINE: &str = "-c a.c -o a.o";

fn hello() -> Project {
    Project::with(&[("a.c", "int a(void) { return 1; }\n")])
}

fn compile(cache: &Cache, project: &Project, line: &str) -> Outcome {
    project.call(cache, line).check().outcome
}

/// A settings file with this text, compiled under and hit before it was there.
fn with_settings(text: &str) -> (Cache, Outcome) {
    let (cache, project) = (Cache::new(), hello());
    let line = format!("gcc {LINE}");
    assert_eq!(compile(&cache, &project, &line), Outcome::Miss);
    let file = cache.root().join("home/.config/ibid/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, text.replace("{log}", cache.root().join("log").to_str().unwrap())).unwrap();
    let outcome = compile(&cache, &project, &line);
    (cache, outcome)
}

#[test]
fn settings_that_change_no_byte() {
    for text in [
        "",
        "# nothing\n\n",
        "max_size = \"3G\"\n",
        "max_size = 3000000000 # bytes\nreadonly = true\r\n",
        "disable = false\nrecache = false\nobserver = \"seccomp\"\nremap = \"off\"\nshare = \"off\"\n",
        // Not in the form that the probe reads: the wrapper does.
        "max_size = '3G'\n",
        "[other]\nkey = 1\n",
        "wrong = 1\n",
        "remap = \"perhaps\"\nlog = 3\n",
        "\"max_size\" = \"3\\u0047\"\n",
        "= = =\n",
        "disable = true\ndisable = true\n",
    ] {
        assert_eq!(with_settings(text).1, HIT, "{text}");
    }
}

#[test]
fn settings_that_change_bytes() {
    for text in ["remap = \"auto\"\n", "remap = 'auto'\n"] {
        assert_eq!(with_settings(text).1, Outcome::Miss, "{text}");
    }
    // This result says nothing of its place: it is found by content.
    for text in ["root = \"/usr\"\n", "root = \"/usr/./\"\n"] {
        assert_eq!(with_settings(text).1, Outcome::PortableHit, "{text}");
    }
}

#[test]
fn settings_that_leave_the_call_to_the_wrapper() {
    for (text, outcome) in [
        ("disable = true\n", Outcome::Uncounted),
        ("\"\\u0064isable\" = true\n", Outcome::Uncounted),
        ("observer = \"off\"\n", Outcome::PassedThrough("no_observer".into())),
        ("recache = true\n", Outcome::Miss),
    ] {
        assert_eq!(with_settings(text).1, outcome, "{text}");
    }
    let (cache, outcome) = with_settings("log = \"{log}\"\n");
    assert_eq!(outcome, HIT);
    let log = fs::read_to_string(cache.root().join("log")).unwrap();
    assert!(log.contains("direct hit"), "{log}");
}

#[test]
fn a_setting_in_the_file_and_in_the_environment_have_one_key() {
    let (mut cache, project) = (Cache::new(), hello());
    let line = format!("gcc {LINE}");
    cache.set("IBID_REMAP", "auto");
    assert_eq!(compile(&cache, &project, &line), Outcome::Miss);
    cache.unset("IBID_REMAP");
    cache.say(&["config", "set", "remap", "auto"]);
    assert_eq!(compile(&cache, &project, &line), HIT);
    cache.set("IBID_REMAP", "off");
    assert_eq!(compile(&cache, &project, &line), Outcome::Miss);
    cache.set("IBID_REMAP", "perhaps");
    assert_eq!(compile(&cache, &project, &line), HIT);
}

#[test]
fn another_home() {
    for tool in tools::of_each_family() {
        let (mut cache, project) = (Cache::new(), hello());
        let line = format!("{tool} {LINE}");
        assert_eq!(compile(&cache, &project, &line), Outcome::Miss);
        cache.set("HOME", cache.root().join("another"));
        assert_eq!(compile(&cache, &project, &line), HIT, "{tool}");
        cache.set("XDG_CONFIG_HOME", cache.root().join("config"));
        assert_eq!(compile(&cache, &project, &line), HIT, "{tool}");
        cache.set("IBID_CONFIG", cache.root().join("config.toml"));
        assert_eq!(compile(&cache, &project, &line), HIT, "{tool}");
        cache.unset("HOME");
        assert_eq!(compile(&cache, &project, &line), HIT, "{tool}");
    }
}

#[test]
fn a_tool_that_asks_for_the_home() {
    let (mut cache, project) = (Cache::new(), hello());
    project.write_program("cc.sh", "#!/bin/sh\nexec gcc -DHOME=\"\\\"$HOME\\\"\" \"$@\"\n");
    project.write("a.c", "char home[] = HOME;\n");
    let line = format!("./cc.sh {LINE}");
    let through = |cache: &Cache| project.call(cache, &line).through(Through::Exec).check();
    through(&cache).expect_miss();
    cache.set("HOME", cache.root().join("another"));
    through(&cache).expect_miss();
}

/// Runs `line` of shell where the loader's cache is another one, made anew by `ldconfig` with the libraries of `lib` in the
/// project, and gives what it prints; `None` where that cannot be.
fn with_library_cache(cache: &Cache, project: &Project, line: &str) -> Option<String> {
    if !tools::is_root() || !tools::have("unshare") || !Path::new("/sbin/ldconfig").exists() {
        tools::skip("only root has mount namespaces, and ldconfig makes the loader's cache");
        return None;
    }
    let script = format!(
        "cp /etc/ld.so.cache cache; /sbin/ldconfig -C cache $PWD/lib && touch -d 2020-01-01 cache && mount --bind cache /etc/ld.so.cache || exit 9; unset PWD OLDPWD; {line}"
    );
    let mut unshare = cache.command("unshare");
    unshare.args(["-m", "sh", "-c", &script]).current_dir(project.path());
    let done = unshare.env("IBID", tools::ibid()).output().unwrap();
    if done.status.code() == Some(9) {
        tools::skip("no mounts here");
        return None;
    }
    assert!(done.status.success(), "{done:?}");
    Some(String::from_utf8(done.stdout).unwrap())
}

fn library(project: &Project, name: &str, text: &str) {
    project.mkdir("lib");
    project.write("lib.c", text);
    let line = format!("gcc -shared -fPIC -Wl,-soname,{name} lib.c -o lib/{name}");
    project.shell(&Cache::new(), &line);
}

/// As an `apt install` of a library does.
#[test]
fn a_library_more_in_the_loaders_cache() {
    for tool in tools::present(&["gcc", "g++", "clang", "rustc"]) {
        let (mut cache, project) = (Cache::new(), hello());
        if tool == "rustc" {
            let home = |name, below| {
                let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(below));
                std::env::var_os(name).map(Into::into).or(home).unwrap()
            };
            cache.set("RUSTUP_HOME", home("RUSTUP_HOME", ".rustup"));
            project.write("a.rs", "pub fn f() {}\n");
        }
        let line = match tool {
            "rustc" => "rustc --crate-type lib a.rs -o a.rlib".to_owned(),
            tool => format!("{tool} {LINE}"),
        };
        library(&project, "libnobodys.so.7", "int nobodys;\n");
        assert_eq!(compile(&cache, &project, &line), Outcome::Miss, "{tool}");
        let counted = cache.count(|| {
            let line = format!("for i in 1 2; do $IBID {line} || exit 1; done");
            _ = with_library_cache(&cache, &project, &line);
        });
        if counted.outcomes() > 0 {
            assert_eq!(counted.get("portable_hits"), 1, "{tool} {counted:?}");
            assert_eq!(counted.get("invocation_hits"), 1, "{tool} {counted:?}");
        }
    }
}

/// A name that the tool asked for has another answer now.
#[test]
fn another_library_of_a_name_in_the_loaders_cache() {
    let (cache, project) = (Cache::new(), hello());
    let line = format!("gcc {LINE}");
    assert_eq!(compile(&cache, &project, &line), Outcome::Miss);
    // One that cc1 wants; the real one, under another path.
    project.mkdir("lib");
    project.shell(
        &cache,
        "cp -L $(ldconfig -p | sed -n 's/.*libmpfr.so.6.* => //p' | head -1) lib/libmpfr.so.6",
    );
    let counted = cache.count(|| {
        _ = with_library_cache(&cache, &project, &format!("$IBID {line}"));
    });
    if counted.outcomes() > 0 {
        assert_eq!(counted.get("misses"), 1, "{counted:?}");
    }
}

/// A script loads a library by name if it is there, which it is only later.
#[test]
fn a_library_that_was_wanted_in_vain() {
    let (cache, project) = (Cache::new(), hello());
    project.write(
        "want.c",
        "#include <dlfcn.h>\n#include <stdio.h>\n\
         int main(void) { FILE *o = fopen(\"a.o\", \"w\");\n\
         fputs(dlopen(\"liblate.so.3\", RTLD_NOW) ? \"found\" : \"none\", o); return fclose(o); }\n",
    );
    project.shell(&cache, "gcc want.c -o want");
    let through = || project.call(&cache, "./want").through(Through::Exec).check();
    // The second run finds an output that the first did not.
    for _ in 0..2 {
        through();
    }
    through().expect_hit();
    library(&project, "liblate.so.3", "int late;\n");
    let line = "$IBID exec -- ./want && cat a.o";
    if let Some(said) = with_library_cache(&cache, &project, line) {
        assert_eq!(said, "found");
    }
}

/// Who reads the loader's cache as a file gets what is in it.
#[test]
fn a_program_that_reads_the_loaders_cache() {
    let (cache, project) = (Cache::new(), hello());
    project.write(
        "read.c",
        "#include <stdio.h>\n\
         int main(void) { FILE *i = fopen(\"/etc/ld.so.cache\", \"r\"), *o = fopen(\"a.o\", \"w\");\n\
         unsigned sum = 0; for (int c; (c = getc(i)) != EOF;) sum = sum * 31 + c;\n\
         fprintf(o, \"%u\", sum); return fclose(o); }\n",
    );
    project.shell(&cache, "gcc read.c -o read");
    let through = || project.call(&cache, "./read").through(Through::Exec).check();
    for _ in 0..2 {
        through();
    }
    through().expect_hit();
    library(&project, "libnobodys.so.7", "int nobodys;\n");
    let line = "$IBID exec -- ./read && cp a.o ours && ./read && cmp a.o ours && echo same";
    if let Some(said) = with_library_cache(&cache, &project, line) {
        assert_eq!(said, "same\n");
    }
}

/// How each compiler makes a precompiled header, uses it, and calls it.
const PRECOMPILED: &[(&str, &str, &str, &str)] = &[
    ("gcc", "-x c-header p.h -o p.h.gch", "-include p.h -c a.c -o a.o", "p.h.gch"),
    ("g++", "-x c++-header p.h -o p.h.gch", "-include p.h -c a.cc -o a.o", "p.h.gch"),
    ("clang", "-x c-header p.h -o p.h.pch", "-include-pch p.h.pch -c a.c -o a.o", "p.h.pch"),
    ("clang++", "-x c++-header p.h -o p.h.pch", "-include-pch p.h.pch -c a.cc -o a.o", "p.h.pch"),
    (
        "clang++",
        "-Xclang -emit-pch -x c++-header p.h -o p.pch",
        "-Xclang -include-pch -Xclang p.pch -Xclang -include -Xclang p.h -c a.cc -o a.o",
        "p.pch",
    ),
    (
        "clang++",
        "-x c++-header -Xclang -fno-pch-timestamp p.h -o p.h.pch",
        "-include-pch p.h.pch -c a.cc -o a.o",
        "p.h.pch",
    ),
    (
        "clang++",
        "-std=c++20 --precompile m.cppm -o m.pcm",
        "-std=c++20 -fmodule-file=m.pcm -c u.cc -o a.o",
        "m.pcm",
    ),
];

fn with_header() -> Project {
    Project::with(&[
        ("p.h", "#ifndef P\n#define P\nstatic inline int f(void) { return 1; }\n#endif\n"),
        ("a.c", "int a(void) { return f(); }\n"),
        ("a.cc", "int a() { return f(); }\n"),
        ("m.cppm", "export module m; export int f() { return 1; }\n"),
        ("u.cc", "import m; int a() { return f(); }\n"),
    ])
}

#[test]
fn users_of_a_precompiled_header_after_a_clean_rebuild() {
    for (tool, make, using, made) in PRECOMPILED {
        if !tools::have(tool) {
            continue;
        }
        let (cache, project) = (Cache::new(), with_header());
        // What gcc makes differs from run to run: only the users are compared.
        let make_it = || {
            project.shell(&cache, "sleep 0.1");
            cache.count(|| _ = project.shell(&cache, &ibid(&format!("{tool} {make}"))))
        };
        assert_eq!(make_it().get("stored"), 1, "{tool} {make}");
        let users = format!("{tool} {using}");
        project.call(&cache, &users).check().expect(&Outcome::Miss);
        project.call(&cache, &users).check().expect(&HIT);
        for _ in 0..2 {
            project.remove(made);
            let counted = make_it();
            assert_eq!(counted.hits(), 1, "{tool} {make}: {counted:?}");
            project.call(&cache, &users).check().expect(&Outcome::PortableHit);
        }
        // Another one is another one.
        project.write(
            "p.h",
            "#ifndef P\n#define P\nstatic inline int f(void) { return 23; }\n#endif\n",
        );
        project.write("m.cppm", "export module m; export int f() { return 23; }\n");
        project.shell(&cache, &format!("rm {made}; {tool} {make}"));
        project.call(&cache, &users).check().expect(&Outcome::Miss);
    }
}

fn ibid(line: &str) -> String {
    format!("{} {line}", tools::ibid().display())
}

/// clang compares the times of the headers with those in the precompiled one, and so it is in one made from another one.
#[test]
fn precompiled_headers_whose_times_count() {
    if !tools::have("clang++") {
        return;
    }
    let (cache, project) = (Cache::new(), with_header());
    let users = "clang++ -include-pch p.h.pch -c a.cc -o a.o";
    project.shell(&cache, "clang++ -x c++-header p.h -o p.h.pch");
    project.call(&cache, users).check().expect(&Outcome::Miss);
    project.call(&cache, users).check().expect(&HIT);
    // clang counts times in seconds.
    let earlier = SystemTime::now() - Duration::from_secs(1000);
    project.set_time("p.h", earlier);
    let done = project.call(&cache, users).check();
    assert_eq!((&done.outcome, done.done.code), (&Outcome::ToolFailure, Some(1)), "{done:?}");

    project.write("q.h", "static inline int g() { return f(); }\n");
    let users = "clang++ -include-pch q.h.pch -c a.cc -o a.o";
    project.shell(
        &cache,
        "clang++ -x c++-header p.h -o p.h.pch && clang++ -x c++-header -include-pch p.h.pch q.h -o q.h.pch",
    );
    project.call(&cache, users).check().expect(&Outcome::Miss);
    project.call(&cache, users).check().expect(&HIT);
    project.set_time("p.h.pch", earlier);
    let done = project.call(&cache, users).check();
    assert_eq!((&done.outcome, done.done.code), (&Outcome::ToolFailure, Some(1)), "{done:?}");
}

#[test]
fn precompiled_headers_of_cmake() {
    if !tools::have("cmake") || !tools::have("ninja") {
        return;
    }
    for tool in tools::present(CXX) {
        let (cache, project) = (Cache::new(), with_header());
        project.write(
            "b.cc",
            "#include <vector>\nint b() { return f() + std::vector<int>{1}.size(); }\n",
        );
        project.write(
            "CMakeLists.txt",
            "cmake_minimum_required(VERSION 3.16)\nproject(p CXX)\nadd_library(p STATIC a.cc b.cc)\n\
             target_precompile_headers(p PRIVATE <vector> p.h)\n",
        );
        let ibid = tools::ibid().display();
        project.shell(&cache, &format!(
            "cmake -G Ninja -S . -B b -DCMAKE_CXX_COMPILER={tool} -DCMAKE_CXX_COMPILER_LAUNCHER={ibid}"
        ));
        let build = || cache.count(|| _ = project.shell(&cache, "ninja -C b -t clean; ninja -C b"));
        let first = build();
        assert_eq!(first.get("misses"), 3, "{tool} {first:?}");
        let again = build();
        assert_eq!(again.hits(), 3, "{tool} {again:?}");
    }
}

/// Two files of equal content, in `x` and `y`, and a source that includes both.
fn equal_headers(text: &str) -> Project {
    let project = Project::with(&[
        ("x/h.h", text),
        ("y/h.h", text),
        ("a.c", "#include <stdio.h>\n#include \"x/h.h\"\n#include \"y/h.h\"\nint n = N;\n"),
    ]);
    project.shell(&Cache::new(), "touch -d 2020-01-01 x/h.h y/h.h");
    project
}

const COUNTING: &str = "#ifdef M\n#undef N\n#define N 2\n#else\n#define M\n#define N 1\n#endif\n";

#[test]
fn files_of_equal_content_that_are_included_as_often_as_asked() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), equal_headers(COUNTING));
        let line = format!("{tool} {LINE}");
        assert_eq!(compile(&cache, &project, &line), Outcome::Miss);
        for touched in ["a.c", "x/h.h", "y/h.h", "x/h.h"] {
            project.touch(touched);
            assert_eq!(compile(&cache, &project, &line), Outcome::PortableHit, "{tool} {touched}");
        }
    }
}

/// What the compiler makes of it depends on times (gcc) or on which file it is (clang): `check` compares with it each time.
#[test]
fn files_of_equal_content_that_are_included_once() {
    let ways = [
        "#pragma once\n",
        "#pragma on\\\nce\n",
        "_Pragma(\"once\")\n",
        "# /* once */ pragma /**/ once\n",
        "",
    ];
    let changes = [
        "touch x/h.h",
        "touch -d '2020-01-01 00:00:00.5' x/h.h",
        "touch x/h.h y/h.h",
        "touch -d 2020-01-01 x/h.h y/h.h",
        "cp -p x/h.h y/new; mv y/new y/h.h",
        "ln -f x/h.h y/h.h",
        "rm y/h.h; cp -p x/h.h y/h.h",
        "ln -sf ../x/h.h y/h.h",
        "rm y/h.h; cp x/h.h y/h.h; touch a.c",
        "touch -r x/h.h y/h.h",
    ];
    for tool in tools::present(C) {
        for way in tools::some_of(ways, tool) {
            let (cache, project) = (Cache::new(), equal_headers(&format!("{way}{COUNTING}")));
            if way.is_empty() {
                let source = "#import \"x/h.h\"\n#import \"y/h.h\"\nint n = N;\n";
                project.write("a.c", source);
            }
            let line = format!("{tool} -Wno-deprecated {LINE}");
            project.call(&cache, &line).check();
            for change in changes {
                project.shell(&cache, change);
                for _ in 0..2 {
                    project.call(&cache, &line).check();
                }
            }
        }
    }
}

/// The relation of times is what counts, not the times.
#[test]
fn files_of_equal_content_that_are_touched_together() {
    let (cache, project) = (Cache::new(), equal_headers(&format!("#pragma once\n{COUNTING}")));
    let line = format!("gcc {LINE}");
    assert_eq!(compile(&cache, &project, &line), Outcome::Miss);
    project.shell(&cache, "touch -d 2021-01-01 x/h.h y/h.h");
    assert_eq!(compile(&cache, &project, &line), Outcome::PortableHit);
    project.touch("a.c");
    assert_eq!(compile(&cache, &project, &line), Outcome::PortableHit);
    project.touch("x/h.h");
    assert_eq!(compile(&cache, &project, &line), Outcome::Miss);
}

/// A macro of another file marks it.
#[test]
fn files_of_equal_content_that_a_macro_marks() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), equal_headers(&format!("MARK\n{COUNTING}")));
        project.write("mark.h", "#define DO(x) _Pragma(#x)\n#define MARK DO(once)\n");
        let line = format!("{tool} -include mark.h {LINE}");
        for change in ["true", "touch x/h.h", "touch -r x/h.h y/h.h"] {
            project.shell(&cache, change);
            for _ in 0..2 {
                project.call(&cache, &line).check();
            }
        }
    }
}

/// A link that leads nowhere is absent, as it was to the compiler that looked for a file by its name; and no longer so when
/// it comes to lead somewhere.
#[test]
fn a_link_that_leads_nowhere() {
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), Project::new());
        project.write("a.c", "#include <h.h>\nint a(void) { return H; }\n");
        project.write("two/h.h", "#define H 2\n");
        project.mkdir("one");
        let line = format!("{tool} -Ione -Itwo {LINE}");
        assert_eq!(compile(&cache, &project, &line), Outcome::Miss, "{tool}");
        project.symlink("../nowhere.h", "one/h.h");
        assert_eq!(compile(&cache, &project, &line), HIT, "{tool}: by stamps");
        project.touch("a.c");
        assert_eq!(compile(&cache, &project, &line), Outcome::PortableHit, "{tool}: by content");
        assert_eq!(compile(&cache, &project, &line), HIT, "{tool}: by today's stamps");
        project.write("nowhere.h", "#define H 1\n");
        assert_eq!(compile(&cache, &project, &line), Outcome::Miss, "{tool}: it leads somewhere");
    }
}
