//! Analysers and generators of sources by name: hits, and a miss for each changed input.

use crate::cache::{Cache, Outcome};
use crate::call::Seen;
use crate::project::Project;
use crate::tools;

/// What is there before each case.
const FILES: &[(&str, &str)] = &[
    ("a.c", "#include \"h.h\"\nint main(void) { int x = H; return 0; }\n"),
    ("h.h", "#define H 1\n"),
    ("a.proto", "syntax = \"proto3\";\nimport \"b.proto\";\nmessage A { B b = 1; }\n"),
    ("inc/b.proto", "syntax = \"proto3\";\nmessage B { int32 x = 1; }\n"),
    ("a.l", "%%\n[a-z]+ printf(\"w\");\n%%\nint yywrap(void) { return 1; }\n"),
    ("a.y", "%token A\n%%\ns: A;\n%%\n"),
    ("x.h", "class X : public QObject { Q_OBJECT\npublic slots: void f(); };\n"),
    ("f.ui", "<ui version=\"4.0\"><class>F</class><widget class=\"QWidget\" name=\"F\"/></ui>\n"),
    ("d.txt", "data\n"),
    ("r.qrc", "<RCC><qresource prefix=\"/\"><file>d.txt</file></qresource></RCC>\n"),
    (
        "a.vert",
        "#version 450\n#extension GL_GOOGLE_include_directive : enable\n#include \"v.glsl\"\nvoid main() { V; }\n",
    ),
    ("m.i", "%module m\n%include \"m.h\"\n"),
    ("m.h", "int f(int x);\n"),
    ("v.glsl", "#define V gl_Position = vec4(1)\n"),
];

/// A command, and changes of its inputs that show in its result: file and new content.
struct Case {
    line: &'static str,
    made: &'static [&'static str],
    changes: &'static [(&'static str, &'static str)],
}

const CASES: &[Case] = &[
    Case {
        line: "clang-tidy -checks=-*,clang-diagnostic-unused-variable,readability-isolate-declaration a.c -- -Wall",
        made: &[],
        changes: &[
            ("h.h", "#define H 1, y = 2\n"),
            (".clang-tidy", "WarningsAsErrors: '*'\n"),
            ("a.c", "int main(void) { return 0; }\n"),
        ],
    },
    Case {
        line: "clang-tidy -checks=-*,clang-diagnostic-unused-variable,readability-isolate-declaration -p . a.c",
        made: &[],
        changes: &[(
            "compile_commands.json",
            "[{\"directory\": \"/\", \"file\": \"a.c\", \"command\": \"cc -Wall -c a.c\"}]\n",
        )],
    },
    Case {
        line: "cppcheck --enable=all a.c",
        made: &[],
        changes: &[
            ("h.h", "#define H 1 / 0\n"),
            ("a.c", "int main(void) { int a[2]; return a[2]; }\n"),
        ],
    },
    Case {
        line: "protoc -I. -Ifirst -Iinc --cpp_out=. --dependency_out=a.dep a.proto",
        made: &["a.pb.cc", "a.pb.h", "a.dep"],
        changes: &[
            ("a.proto", "syntax = \"proto3\";\nimport \"b.proto\";\nmessage A2 { B b = 1; }\n"),
            ("first/b.proto", "syntax = \"proto3\";\nmessage B { int32 y = 1; }\n"),
        ],
    },
    Case {
        line: "flex -o l.c a.l",
        made: &["l.c"],
        changes: &[("a.l", "%%\n[0-9]+ printf(\"n\");\n%%\nint yywrap(void) { return 1; }\n")],
    },
    Case { line: "flex -t a.l", made: &[], changes: &[("a.l", "%%\n[0-9] ;\n%%\n")] },
    Case {
        line: "bison -d -v -o y.c a.y",
        made: &["y.c", "y.h", "y.output"],
        changes: &[("a.y", "%token A B\n%%\ns: A | B;\n%%\n")],
    },
    Case {
        line: "moc x.h -o moc_x.cpp",
        made: &["moc_x.cpp"],
        changes: &[("x.h", "class X : public QObject { Q_OBJECT\npublic slots: void g(); };\n")],
    },
    Case {
        line: "moc x.h",
        made: &[],
        changes: &[("x.h", "class Y : public QObject { Q_OBJECT };\n")],
    },
    Case {
        line: "uic f.ui -o ui.h",
        made: &["ui.h"],
        changes: &[(
            "f.ui",
            "<ui version=\"4.0\"><class>G</class><widget class=\"QWidget\" name=\"G\"/></ui>\n",
        )],
    },
    Case { line: "rcc r.qrc -o r.cpp", made: &["r.cpp"], changes: &[("d.txt", "other\n")] },
    Case {
        line: "glslangValidator -V a.vert -o a.spv",
        made: &["a.spv"],
        changes: &[("v.glsl", "#define V gl_Position = vec4(2)\n")],
    },
    Case {
        line: "swig -python -Ifirst -outdir . -MMD m.i",
        made: &["m.py", "m_wrap.c", "m_wrap.d"],
        changes: &[
            ("m.i", "%module m\n%include \"m.h\"\nint g(int);\n"),
            ("m.h", "int f(char x);\n"),
        ],
    },
    Case {
        line: "swig -c++ -perl5 -o w.cxx m.i",
        made: &["w.cxx", "m.pm"],
        changes: &[("m.h", "int other();\n")],
    },
];

/// Without what the tool has made.
fn call(project: &Project, cache: &Cache, case: &Case) -> Seen {
    for name in case.made.iter().filter(|name| project.at(name).exists()) {
        project.remove(name);
    }
    project.call(cache, case.line).check()
}

/// A cache on whose path Qt's tools are, where Debian has them.
fn cache() -> Cache {
    Cache::new().with("PATH", "/usr/lib/qt5/bin:/usr/bin:/bin")
}

fn is_here(case: &Case) -> bool {
    let tool = case.line.split(' ').next().unwrap();
    ["moc", "uic", "rcc"].contains(&tool) && std::path::Path::new("/usr/lib/qt5/bin").exists()
        || tools::have(tool)
}

#[test]
fn each_is_a_hit_until_an_input_changes() {
    for case in CASES.iter().filter(|case| is_here(case)) {
        for (name, content) in case.changes {
            let cache = cache();
            let project = Project::with(FILES);
            project.mkdir("first");
            let first = call(&project, &cache, case);
            let second = call(&project, &cache, case);
            let third = call(&project, &cache, case);
            assert_eq!(
                third.outcome,
                Outcome::InvocationHit,
                "{}: {:?}, {:?}",
                case.line,
                first.outcome,
                second.outcome
            );
            // Over what is there.
            project.call(&cache, case.line).check().expect_hit();
            project.write(name, content);
            let after = call(&project, &cache, case);
            assert!(!after.outcome.is_hit(), "{} {name}: {:?}", case.line, after.outcome);
            assert!(!after.same_result(&first), "{}: {name} makes no difference", case.line);
        }
    }
}

/// An input that was touched is the same; but a resource has the time of its file.
#[test]
fn times_of_inputs() {
    for case in CASES.iter().filter(|case| is_here(case)) {
        let cache = cache();
        let project = Project::with(FILES);
        for _ in 0..3 {
            call(&project, &cache, case);
        }
        let (name, _) = case.changes.last().unwrap();
        if !project.at(name).exists() {
            continue;
        }
        project.touch(name);
        let seen = call(&project, &cache, case);
        // Not each version of cppcheck asks for the local time.
        if !case.line.starts_with("cppcheck") {
            let shows_times = case.line.starts_with("rcc");
            assert_eq!(seen.outcome.is_hit(), !shows_times, "{}: {:?}", case.line, seen.outcome);
        }
    }
}

/// cppcheck knows the time, for sources that name it.
#[test]
fn the_time_in_what_is_analysed() {
    if !tools::have("cppcheck") {
        return;
    }
    let cache = cache();
    let project = Project::with(&[("a.c", "const char *a(void) { return __TIME__; }\n")]);
    for _ in 0..3 {
        let seen = project.call(&cache, "cppcheck --enable=all a.c").check();
        assert_eq!(seen.outcome, Outcome::NotStored("used_time".into()));
    }
}

/// What changes sources, reads standard input or times itself runs bare, and as without ibid.
#[test]
fn what_passes_through() {
    let cache = cache();
    let project = Project::with(FILES);
    for (line, reason) in [
        ("clang-tidy --version", "query"),
        ("flex -o l.c", "no_source"),
        ("cppcheck -j2 a.c", "unsupported_flag"),
        ("protoc --version", "query"),
    ] {
        if tools::have(line.split(' ').next().unwrap()) {
            let seen = project.call(&cache, line).check();
            assert_eq!(seen.outcome, Outcome::PassedThrough(reason.into()), "{line}");
        }
    }
    if tools::have("clang-tidy") {
        project.write("fix.c", "int f(void) { int a, b; a = b = 1; return a + b; }\n");
        for _ in 0..3 {
            let line = "clang-tidy --fix -checks=-*,readability-isolate-declaration fix.c --";
            let seen = project.call(&cache, line).check();
            assert!(!seen.outcome.is_hit() || seen.written.is_empty(), "{:?}", seen.outcome);
        }
    }
}
