//! Wrong hits of archivers and linkers, which are cached through `ibid exec --`: run until it hits, change one thing, run
//! again.
//!
//! What a link makes is removed before each run, but where what is there already is the question: it counts only for a
//! program that no policy knows and that asked.

use crate::cases;
use crate::scene::Scene;

const LINKERS: &[&str] = &["gcc", "clang"];
const LD: &[&str] = &["ld"];
const AR: &[&str] = &["ar"];

const MAIN: &str = "int f(void);\\nint main(void) { return f(); }\\n";

/// An object `NAME.o` from a line of C.
fn object(s: &Scene, name: &str, text: &str) {
    s.sh(&format!("mkdir -p $(dirname {name}) && printf '{text}' > {name}.c && gcc -fPIC -c {name}.c -o {name}.o"));
}

/// A library `NAME` whose `f` gives `value`.
fn archive(s: &Scene, name: &str, value: u8) {
    object(s, "f", &format!("int f(void) {{ return {value}; }}\\n"));
    s.sh(&format!("mkdir -p $(dirname {name}) && rm -f {name} && ar rcsD {name} f.o"));
}

fn shared(s: &Scene, name: &str, value: u8) {
    object(s, "f", &format!("int f(void) {{ return {value}; }}\\n"));
    s.sh(&format!("mkdir -p $(dirname {name}) && gcc -shared f.o -o {name}"));
}

/// A program `p` from `m.o` by these arguments.
fn link(s: &mut Scene, args: &str) {
    object(s, "m", MAIN);
    s.remove_before_each("p");
    s.args(&format!("m.o {args} -o p"));
}

cases! {
    object_changes: LINKERS,
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); link(s, "f.o"); },
        |s| { object(s, "f", "int f(void) { return 2; }\\n"); };
    library_changes: LINKERS,
        |s| { archive(s, "libz1.a", 1); link(s, "-L. -lz1"); },
        |s| { archive(s, "libz1.a", 2); };
    library_appears_earlier: LINKERS,
        |s| { archive(s, "two/libz1.a", 1); s.mkdir("one"); link(s, "-Lone -Ltwo -lz1"); },
        |s| { archive(s, "one/libz1.a", 2); };
    library_appears_in_a_directory_that_was_not_there: LINKERS,
        |s| { archive(s, "two/libz1.a", 1); link(s, "-Lone -Ltwo -lz1"); },
        |s| { archive(s, "one/libz1.a", 2); };
    shared_library_appears_beside_the_archive: LINKERS,
        |s| { archive(s, "libz1.a", 1); link(s, "-L. -lz1"); },
        |s| { shared(s, "libz1.so", 1); };
    library_goes: LINKERS,
        |s| { archive(s, "one/libz1.a", 1); archive(s, "two/libz1.a", 2); link(s, "-Lone -Ltwo -lz1"); },
        |s| { s.remove("one/libz1.a"); };
    library_by_its_whole_name: LINKERS,
        |s| { archive(s, "two/z.lib", 1); s.mkdir("one"); link(s, "-Lone -Ltwo -l:z.lib"); },
        |s| { archive(s, "one/z.lib", 2); };
    library_path_variable: LINKERS,
        |s| { archive(s, "one/libz1.a", 1); archive(s, "two/libz1.a", 2); s.env("LIBRARY_PATH", "{root}/one"); link(s, "-lz1"); },
        |s| { s.env("LIBRARY_PATH", "{root}/two"); };
    library_path_appears: LINKERS,
        |s| { archive(s, "one/libz1.a", 1); archive(s, "two/libz1.a", 2); link(s, "-Wl,-Ltwo -lz1"); },
        |s| { s.env("LIBRARY_PATH", "{root}/one"); };
    run_path_variable: LINKERS,
        |s| { shared(s, "libz1.so", 1); link(s, "-L. -lz1"); s.env("LD_RUN_PATH", "/one"); },
        |s| { s.env("LD_RUN_PATH", "/two"); };
    text_in_a_shared_library_s_place: LINKERS,
        |s| { archive(s, "one.a", 1); archive(s, "two.a", 2); s.write("libz1.so", "INPUT(one.a)\n"); link(s, "-L. -lz1"); },
        |s| { s.write("libz1.so", "INPUT(two.a)\n"); };
    library_behind_a_linker_script: LINKERS,
        |s| { archive(s, "one.a", 1); s.write("libz1.so", "INPUT(one.a)\n"); link(s, "-L. -lz1"); },
        |s| { archive(s, "one.a", 2); };
    directory_that_a_linker_script_searches: LINKERS,
        |s| { archive(s, "one/libz2.a", 1); s.mkdir("two"); s.write("libz1.so", "SEARCH_DIR(one)\nINPUT(-lz2)\n"); link(s, "-L. -lz1 -Ltwo"); },
        |s| { archive(s, "two/libz2.a", 2); };
    version_script: LINKERS,
        |s| { object(s, "f", "int f(void) { return 1; }\\nint g(void) { return 2; }\\n"); s.write("v.map", "A { global: f; local: *; };\n"); s.exec(); s.remove_before_each("p"); s.args("-shared f.o -Wl,--version-script=v.map -o p"); },
        |s| { s.write("v.map", "A { global: g; local: *; };\n"); };
    list_of_dynamic_symbols: LINKERS,
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); s.write("d.list", "{ f; };\n"); link(s, "f.o -Wl,--dynamic-list=d.list"); },
        |s| { s.write("d.list", "{ g; };\n"); };
    response_file: LINKERS,
        |s| { archive(s, "one/libz1.a", 1); archive(s, "two/libz1.a", 2); s.write("r.txt", "-Lone -lz1"); link(s, "@r.txt"); },
        |s| { s.write("r.txt", "-Ltwo -lz1"); };
    wanted_library_of_a_shared_one: LINKERS,
        |s| { shared(s, "deep/libdeep.so", 1); s.sh("printf 'int f(void);\\nint g(void) { return f(); }\\n' > g.c && gcc -shared -fPIC g.c -Ldeep -ldeep -o libg.so"); object(s, "m", "int g(void);\\nint main(void) { return g(); }\\n"); s.exec(); s.remove_before_each("p"); s.args("m.o -L. -lg -Wl,-rpath-link,deep -o p"); },
        |s| { s.remove("deep/libdeep.so"); };
    start_files_of_another_directory: &["gcc"],
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); s.mkdir("b"); link(s, "-B {root}/b/ f.o"); },
        |s| { s.sh("cp $(gcc -print-file-name=crti.o) b/crti.o && objcopy --add-symbol extra=.text:0 b/crti.o"); };
    another_linker_in_a_b_directory: &["gcc"],
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); s.mkdir("b"); link(s, "-B {root}/b f.o"); s.may_hit_or_not(); },
        |s| { s.write_program("b/ld", "#!/bin/sh\nexec /usr/bin/ld -s \"$@\"\n"); };
    build_id_of_other_bytes: LINKERS,
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); link(s, "-Wl,--build-id f.o"); },
        |s| { object(s, "f", "int f(void) { return 3; }\\n"); };
    object_replaced_with_the_time_put_back: LINKERS,
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); s.sh("cp f.o g.o"); link(s, "g.o"); },
        |s| { object(s, "f", "int f(void) { return 2; }\\n"); s.sh("touch -r g.o t && cat f.o > g.o && touch -r t g.o"); };
    symlinked_library_retargeted: LINKERS,
        |s| { archive(s, "libone.a", 1); archive(s, "libtwo.a", 2); s.symlink("libone.a", "libz1.a"); link(s, "-L. -lz1"); },
        |s| { s.symlink("libtwo.a", "libz1.a"); };
    umask_of_a_program: LINKERS,
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); link(s, "f.o"); s.umask(0o22); },
        |s| { s.umask(0o77); };
    linker_script: LD,
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); s.write("l.ld", "SECTIONS { .text : { *(.text*) } one = 1; }\n"); s.exec(); s.remove_before_each("p"); s.args("-r -T l.ld f.o -o p"); },
        |s| { s.write("l.ld", "SECTIONS { .text : { *(.text*) } two = 2; }\n"); };
    linker_script_includes: LD,
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); s.write("two/i.ld", "one = 1;\n"); s.mkdir("one"); s.write("l.ld", "SECTIONS { .text : { *(.text*) } INCLUDE i.ld }\n"); s.exec(); s.remove_before_each("p"); s.args("-r -Lone -Ltwo -T l.ld f.o -o p"); },
        |s| { s.write("one/i.ld", "two = 2;\n"); };
    emulation_variable: LD,
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); s.exec(); s.remove_before_each("p"); s.args("-r f.o -o p"); s.env("LDEMULATION", "elf_x86_64"); },
        |s| { s.env("LDEMULATION", "elf_i386"); };
    member_changes: AR,
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); s.exec(); s.remove_before_each("l.a"); s.args("rcsD l.a f.o"); },
        |s| { object(s, "f", "int f(void) { return 2; }\\n"); };
    members_in_another_order: AR,
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); object(s, "g", "int g(void) { return 1; }\\n"); s.exec(); s.remove_before_each("l.a"); s.args("rcsD l.a f.o g.o"); },
        |s| { s.args("rcsD l.a g.o f.o"); };
    thin_archive: AR,
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); s.exec(); s.remove_before_each("l.a"); s.args("rcsDT l.a f.o"); },
        |s| { object(s, "f", "int fff(void) { return 2; }\\n"); };
    a_program_is_there_already: LINKERS,
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); link(s, "f.o"); s.keep("p"); },
        |s| { object(s, "f", "int f(void) { return 2; }\\n"); };
    a_shared_object_is_there_already: LINKERS,
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); s.exec(); s.args("-shared f.o -o libf.so"); },
        |s| { object(s, "f", "int f(void) { return 2; }\\n"); };
    a_relocatable_object_is_there_already: LD,
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); s.exec(); s.args("-r f.o -o p"); },
        |s| { object(s, "f", "int f(void) { return 2; }\\n"); };
    a_preprocessed_text_is_there_already: &["gcc"],
        |s| { s.write("a.c", "int a = 1;\n"); s.exec(); s.args("-E a.c -o a.i"); },
        |s| { s.write("a.c", "int a = 2;\n"); };
    code_of_protoc_is_there_already: &["protoc"],
        |s| { s.write("x.proto", "syntax = \"proto3\"; message A { int32 x = 1; }\n"); s.exec(); s.args("--cpp_out=. x.proto"); },
        |s| { s.write("x.proto", "syntax = \"proto3\"; message A { int32 y = 1; }\n"); };
    an_unknown_program_that_replaces: &["dash"],
        |s| { s.tool("./cc.sh"); s.write_program("cc.sh", "#!/bin/dash\ngcc -c a.c -o b.o\n"); s.write("a.c", "int a = 1;\n"); s.exec(); s.may_hit_or_not(); },
        |s| { s.write("a.c", "int a = 2;\n"); };
    an_archive_is_there_already: AR,
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); object(s, "g", "int g(void) { return 1; }\\n"); s.exec(); s.args("rcsD l.a f.o"); s.sh("ar rcsD l.a g.o"); s.never_hits(); },
        |s| { s.sh("rm l.a && ar rcsD l.a f.o g.o"); };
    an_archive_appears: AR,
        |s| { object(s, "f", "int f(void) { return 1; }\\n"); object(s, "g", "int g(void) { return 1; }\\n"); s.exec(); s.remove_before_each("l.a"); s.args("rcsD l.a f.o"); },
        |s| { s.keep("l.a"); s.sh("ar rcsD l.a g.o"); s.never_hits(); };
    a_script_that_makes_what_is_missing: &["dash"],
        |s| { s.tool("./make.sh"); s.write_program("make.sh", "#!/bin/dash\n[ -e out ] && echo again >out || echo first >out\n"); s.exec(); s.remove_before_each("out"); s.may_hit_or_not(); },
        |s| { s.keep("out"); s.write("out", "old"); };
    a_script_that_lists_what_is_there: &["dash"],
        |s| { s.tool("./list.sh"); s.write_program("list.sh", "#!/bin/dash\nset -- *.txt; echo $# >out.txt\n"); s.write("a.txt", ""); s.exec(); s.remove_before_each("out.txt"); s.may_hit_or_not(); },
        |s| { s.keep("out.txt"); s.write("out.txt", "old"); };
    a_script_that_does_not_overwrite: &["dash"],
        |s| { s.tool("./keep.sh"); s.write_program("keep.sh", "#!/bin/dash\nset -C; { echo new >out; } 2>/dev/null || :\n"); s.exec(); s.remove_before_each("out"); s.may_hit_or_not(); },
        |s| { s.keep("out"); s.write("out", "old"); };
    a_script_that_appends: &["dash"],
        |s| { s.tool("./add.sh"); s.write_program("add.sh", "#!/bin/dash\necho more >>out\n"); s.exec(); s.remove_before_each("out"); s.may_hit_or_not(); },
        |s| { s.keep("out"); s.write("out", "old"); };
    a_script_that_removes_first: &["dash"],
        |s| { s.tool("./anew.sh"); s.write_program("anew.sh", "#!/bin/dash\nrm out 2>/dev/null && echo again >out || echo first >out\n"); s.exec(); s.remove_before_each("out"); s.may_hit_or_not(); },
        |s| { s.keep("out"); s.write("out", "old"); };
}
