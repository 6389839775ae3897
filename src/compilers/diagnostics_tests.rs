//! Texts of compilers that failed, and whether the same sources will give them again.

use super::*;

/// Printed on standard error.
fn repeats(family: Family, text: &str) -> bool {
    shows_source_error(family, b"", text.as_bytes())
}

fn check(family: Family, cases: &[(&str, bool)]) {
    for (text, expected) in cases {
        assert_eq!(repeats(family, text), *expected, "{family:?}: {text}");
    }
}

const BOTH: &[(&str, bool)] = &[
    ("a.c:1:2: error: use of undeclared identifier 'x'\n", true),
    ("dir with: colon/a.c:1: error: x\n", true),
    ("<stdin>:1:16: error: x\n<command line>:1:9: error: y\n", true),
    ("a.c:2:2: error: #error x\n    2 | #error x\n      |  ^~~~~\n", true),
    (
        "\u{1b}[01m\u{1b}[Ka.c:2:2:\u{1b}[m\u{1b}[K \u{1b}[01;31m\u{1b}[Kerror: \u{1b}[m\u{1b}[Kx\n",
        true,
    ),
    ("\u{1b}[1ma.c:3:1: \u{1b}[0m\u{1b}[0;1;31merror: \u{1b}[0m\u{1b}[1mx\u{1b}[0m\n", true),
    ("a.c:1:2: error: x [\u{1b}]8;;https://e.org/\u{7}-Werror\u{1b}]8;;\u{1b}\\]\r\n", true),
    ("", false),
    ("a.c:1:2: warning: x\n", false),
    ("a.c: error: x\n", false),
    (":1: error: x\n", false),
    ("a.c:1:2: Error: no such instruction: `foo'\n", false),
    // Of another program, beside one of a source.
    ("a.c:1:2: error: x\ngcc: error: y\n", false),
    ("a.c:1:2: error: x\nclang: error: unable to execute command: Killed\n", false),
    ("a.c:1:2: error: x\ncollect2: error: ld returned 1 exit status\n", false),
    ("a.c:1:2: error: x\n{standard input}: Assembler messages:\n", false),
    ("a.c:1:2: error: x\n{standard input}: Fatal error: can't write a.o\n", false),
    ("a.c:1:2: error: x\nstack nearly exhausted; compilation time may suffer\n", false),
    ("a.c:1:2: error: x\nLLVM ERROR: IO failure on output stream\n", false),
    ("a.c:1:2: error: unable to open output file 'a.o': 'Permission denied'\n", false),
    ("a.c:1:2: error: cannot open x: Too\n   many open\n   files\n", false),
    ("a.c:1:2: internal compiler error: in f, at g.c:3\na.c:1:2: error: x\n", false),
];

const GCC: &[(&str, bool)] = &[
    ("a.c:1:10: fatal error: x.h: No such file or directory\ncompilation terminated.\n", true),
    ("a.c:1:2: error: x\ncompilation terminated due to -Wfatal-errors.\n", true),
    ("a.c:1:2: error: x\ncc1: all warnings being treated as errors\n", true),
    ("a.cc:1:2: fatal error: template instantiation depth exceeds maximum of 900 (…)\n", true),
    ("a.c:1:10: fatal error: x.h: Permission denied\ncompilation terminated.\n", false),
    ("a.c:1:10: fatal error: x.h: Keine Berechtigung\ncompilation terminated.\n", false),
    ("a.c:1:10: fatal error: x.h: Datei oder Verzeichnis nicht gefunden\n", false),
    ("a.c:1:10: fataler Fehler: x.h: No such file or directory\n", false),
    ("a.c:9: fatal error: when writing output to a.s: No space left on device\n", false),
    (
        "a.c:1:2: error: x\ngcc: fatal error: Killed signal terminated program cc1\ncompilation terminated.\n",
        false,
    ),
    (
        "a.c:1:2: error: x\ncc1: out of memory allocating 65536 bytes after a total of 1 bytes\n",
        false,
    ),
    ("cc1: fatal error: a.c: No such file or directory\ncompilation terminated.\n", false),
];

const CLANG: &[(&str, bool)] = &[
    (
        "a.c:1:10: fatal error: 'x.h' file not found\n#include \"x.h\"\n         ^~~~~\n1 error generated.\n",
        true,
    ),
    ("a.c:1:2: fatal error: use of undeclared identifier 'x'\n", true),
    (
        "a.c:1:2: error: x\nfatal error: too many errors emitted, stopping now [-ferror-limit=]\n",
        true,
    ),
    ("a.c:1:2: error: x\n<inline asm>:1:10: note: instantiated into assembly here\n", true),
    ("a.c:1:10: fatal error: cannot open file './x.h': Permission denied\n", false),
    ("fatal error: error in backend: x\n", false),
    ("a.c:1:2: error: x\nerror: unable to open output file 'a.o': 'x'\n", false),
];

const RUSTC: &[(&str, bool)] = &[
    (
        "error[E0308]: mismatched types\n --> a.rs:1:26\n  |\n\nerror: aborting due to 1 previous error\n",
        true,
    ),
    (
        "error: x\n  two lines\n --> <anon>:1:9\n\nerror: aborting due to 1 previous error; 1 warning emitted\n",
        true,
    ),
    ("error[E0308]: x\n --> a.rs:1:1\nerror[E0425]: y\n --> a.rs:2:1\n", true),
    (
        "a.rs:1:26: error[E0308]: mismatched types: expected `u32`\nerror: aborting due to 1 previous error\n",
        true,
    ),
    ("error: couldn't read `src/x`: No such file or directory (os error 2)\n --> a.rs:1:1\n", true),
    ("error[E0583]: file not found for module `x`\n --> a.rs:1:1\n", true),
    (
        "error: couldn't read `a.rs`: No such file or directory (os error 2)\n\nerror: aborting due to 1 previous error\n",
        false,
    ),
    ("error: couldn't read `src/x`: Kein Speicher (os error 12)\n --> a.rs:1:1\n", false),
    ("error[E0308]: x\nerror[E0425]: y\n --> a.rs:2:1\n", false),
    (
        "warning: w\n --> a.rs:1:1\n\nerror: linking with `cc` failed: exit status: 1\n  |\n  = note: --> no\n",
        false,
    ),
    ("error[E0308]: x\n --> a.rs:1:1\n\nerror: linking with `cc` failed: exit status: 1\n", false),
    ("error: proc macro panicked\n --> a.rs:1:1\n", false),
    ("error: internal compiler error: x\n --> a.rs:1:1\n", false),
    ("error[E0463]: can't find crate for `x`\n --> a.rs:1:1\n", false),
    (
        r#"{"$message_type":"artifact","artifact":"a.d","emit":"dep-info"}
{"message":"mismatched types","code":{"code":"E0308","explanation":"Killed: out of memory"},"level":"error","spans":[{"file_name":"a.rs"}],"rendered":"error[E0308]: mismatched types\n"}
{"message":"aborting due to 1 previous error","level":"error","spans":[],"rendered":"error: aborting due to 1 previous error\n"}
{"message":"For more information","level":"failure-note","spans":[],"rendered":"For more information"}
"#,
        true,
    ),
    (
        r#"{"message":"linking with `cc` failed","level":"error","spans":[],"rendered":"error: linking with `cc` failed"}"#,
        false,
    ),
    (
        r#"{"message":"x","level":"error: internal compiler error","spans":[{}],"rendered":"x"}"#,
        false,
    ),
    (
        r#"{"message":"x","level":"error","spans":[{}],"rendered":"\u001b[1merror\u001b[0m: x (os error 28)"}"#,
        false,
    ),
    (
        r#"{"message":"x","level":"error","spans":[{}],"rendered":"error[E0463]: can't find crate"}"#,
        false,
    ),
    (r#"{"message":"x","level":"error","spans":[{}]"#, false),
    (r#"{"message":"x","level":"warning","spans":[{}],"rendered":"warning: x"}"#, false),
];

#[test]
fn errors_of_sources() {
    check(Family::Gcc, BOTH);
    check(Family::Clang, BOTH);
    check(Family::Gcc, GCC);
    check(Family::Clang, CLANG);
    check(Family::Rustc, RUSTC);
}

#[test]
fn of_unknown_tools_nothing_is_known() {
    assert!(!repeats(Family::Unknown, "a.c:1:2: error: x\n"));
}

#[test]
fn where_both_streams_are_one_the_text_is_on_standard_output() {
    assert!(shows_source_error(Family::Gcc, b"a.c:1:2: error: x\n", b""));
    assert!(!shows_source_error(Family::Gcc, b"a.c:1:2: error: x", b"as: Killed"));
}
