//! Wrong hits in corners: chains of links, files that appear where nothing had been looked for by that name, outputs whose
//! place is taken. Compile until it hits, change one thing, compile again.

use crate::cases;
use crate::tools::{ALL, C, CLANG, GCC};

const INCLUDES: &str = "#include <h.h>\nint a = H;\n";
const PLAIN: &str = "int f(void) { return 1; }\n";

cases! {
    response_file_at_the_third_remove: C,
        |s| { s.write("one", "@two"); s.write("two", "@three"); s.write("three", "-DH=1"); s.write("a.c", "int a = H;\n"); s.args("@one -c a.c -o a.o"); },
        |s| { s.write("three", "-DH=2"); };
    response_file_appears_where_a_source_was_meant: C,
        |s| { s.write("@a.c", "int a;\n"); s.write("b.c", "int b;\n"); s.args("-c @a.c -o a.o"); },
        |s| { s.write("a.c", "-DX b.c"); };
    root_of_the_system_behind_a_symlink: ALL,
        |s| { s.write("r1/usr/include/h.h", "#define H 1\n"); s.write("r2/usr/include/h.h", "#define H 2\n"); s.symlink("r1", "r"); s.source("--sysroot={root}/r", INCLUDES); },
        |s| { s.symlink("r2", "r"); };
    directory_above_the_target_of_a_link: ALL,
        |s| { s.write("p/h.h", "#define H 1\n"); s.write("r/h.h", "#define H 2\n"); s.mkdir("p/q"); s.mkdir("r/s"); s.symlink("p/q", "l"); s.source("-Il/..", INCLUDES); },
        |s| { s.symlink("r/s", "l"); };
    empty_part_of_a_path: ALL,
        |s| { s.write("d/h.h", "#define H 1\n"); s.source("-idirafter d", INCLUDES); s.env("CPATH", ":"); },
        |s| { s.write("h.h", "#define H 2\n"); };
    link_into_the_working_directory: C,
        |s| { s.write("1/v.h", "#define H 1\n"); s.write("2/v.h", "#define H 2\n"); s.symlink("/proc/self/cwd/v.h", "h.h"); s.write("a.c", "#include \"h.h\"\nint a = H;\n"); s.cwd("1"); s.args("-c {root}/a.c -o {root}/a.o"); s.may_hit_or_not(); },
        |s| { s.cwd("2"); };
    header_replaced_by_one_of_the_same_size_and_time: ALL,
        |s| { s.write("h.h", "#define H 1\n"); s.write("k.h", "#define H 2\n"); s.source("-I.", INCLUDES); },
        |s| { s.sh("touch -r h.h k.h && mv k.h h.h"); };
    last_of_many_missing_directories_becomes_a_link: C,
        |s| { s.write("d/h.h", "#define H 1\n"); s.write("e/h.h", "#define H 2\n"); let many: Vec<_> = (0..200).map(|n| format!("-Im/{n}")).collect(); s.source(&format!("{} -Id", many.join(" ")), INCLUDES); },
        |s| { s.mkdir("m"); s.symlink("../e", "m/199"); };
    first_include_of_all_appears_here: ALL,
        |s| { s.write("d/i.h", "#define H 1\n"); s.source("-Id -include i.h", "int a = H;\n"); },
        |s| { s.write("i.h", "#define H 2\n"); };
    assembler_finds_it_earlier: GCC,
        |s| { s.mkdir("c"); s.write("d/i.s", ".long 1\n"); s.write("a.s", ".include \"i.s\"\n"); s.args("-Wa,-Ic -Wa,-Id -c a.s -o a.o"); },
        |s| { s.write("c/i.s", ".long 2\n"); };
    specs_appear_in_a_b_directory: GCC,
        |s| { s.mkdir("b"); s.source("-Bb/", PLAIN); },
        |s| { s.write("b/specs", "*asm:\n--defsym zz=1\n\n"); };
    directory_of_precompiled_headers_appears: GCC,
        |s| { s.write("h.h", "#define H 1\n"); s.write("k.h", "#define H 2\n"); s.source("-I.", "#include \"h.h\"\nint a = H;\n"); },
        |s| { s.sh("mkdir h.h.gch && gcc -x c-header k.h -o h.h.gch/x"); };
    options_appear_beside_the_driver: CLANG,
        |s| { s.sh("mkdir b && ln -s $(command -v clang) b/clang"); s.write("a.c", "#ifdef H\nint h;\n#endif\nint a;\n"); s.tool("{root}/b/clang"); s.args("-c a.c -o a.o"); s.may_hit_or_not(); s.same_result(); },
        |s| { s.write("b/clang.cfg", "-DX\n"); };
    colours_of_messages: C,
        |s| { s.source("-Wall -fdiagnostics-color=always", "int f(void) { int unused; return 1; }\n"); },
        |s| { s.args("-Wall -fdiagnostics-color=never -c a.c -o a.o"); };
    output_becomes_a_dangling_link: &["gcc", "g++"],
        |s| { s.source("", PLAIN); },
        |s| { s.remove("a.o"); s.symlink("nowhere", "a.o"); s.may_hit_or_not(); };
    output_gets_a_second_name: ALL,
        |s| { s.source("-MMD", PLAIN); },
        |s| { s.hard_link("a.d", "b.d"); s.may_hit_or_not(); };
    output_becomes_read_only: ALL,
        |s| { s.source("-MMD", PLAIN); },
        |s| { s.chmod("a.d", 0o444); s.may_hit_or_not(); };
    directory_of_the_output_goes: ALL,
        |s| { s.mkdir("o"); s.source("", PLAIN); s.args(&format!("-c {} -o o/a.o", s.source_name())); },
        |s| { s.remove("o"); };
    directory_of_the_output_becomes_a_link: ALL,
        |s| { s.mkdir("o"); s.source("", PLAIN); s.args(&format!("-c {} -o o/a.o", s.source_name())); },
        |s| { s.remove("o"); s.mkdir("q"); s.symlink("q", "o"); };
    two_sources_share_a_depfile: ALL,
        |s| { s.source("-MMD -MF dep", PLAIN); s.write(&format!("b.{}", &s.source_name()[2..]), "int b;\n"); },
        |s| { s.args(&format!("-MMD -MF dep -c b.{} -o b.o", &s.source_name()[2..])); };
}

const LINKERS: &[&str] = &["gcc", "clang"];

cases! {
    archive_of_archives: LINKERS,
        |s| { s.sh("echo 'int f(void); int main(void) { return f(); }' > m.c; echo 'int f(void) { return 1; }' > f.c; gcc -c m.c f.c; ar rcsT i.a f.o; ar rcsT l.a i.a"); s.exec(); s.remove_before_each("p"); s.args("m.o l.a -o p"); },
        |s| { s.sh("echo 'int f(void) { return 2; }' > f.c; gcc -c f.c"); };
    library_that_a_script_wants_appears_earlier: LINKERS,
        |s| { s.sh("mkdir d e; echo 'int f(void); int main(void) { return f(); }' > m.c; echo 'int f(void) { return 1; }' > f.c; gcc -c m.c f.c; ar rcs d/libq.a f.o; echo 'INPUT(-lq)' > libz1.so"); s.exec(); s.remove_before_each("p"); s.args("m.o -L. -Le -Ld -lz1 -o p"); },
        |s| { s.sh("echo 'int f(void) { return 2; }' > f.c; gcc -c f.c; ar rcs e/libq.a f.o"); };
    response_file_of_the_linker_appears: &["ld"],
        |s| { s.sh("echo 'int f(void) { return 1; }' > f.c; gcc -c f.c; cp f.o @r; cp f.o g.o; objcopy --add-symbol zz=.text:0 g.o"); s.exec(); s.remove_before_each("p"); s.args("-r @r -o p"); },
        |s| { s.write("r", "g.o\n"); };
}
