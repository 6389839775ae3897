//! Every class of wrong hit that some released cache has: compile until it hits, change one thing, compile again.
//!
//! A new case is a line for its name and tools, what is there, and what changes.

use std::time::{Duration, SystemTime};

use crate::cases;
use crate::scene::{play, play_at_once};
use crate::tools::{ALL, C, CLANG, CXX, GCC};

const PLAIN: &str = "int f(void) { return 1; }\n";
/// Shows how often it is included.
const ONCE_AND_COUNTED: &str = "#pragma once\n#define JOIN2(a, b) a##b\n#define JOIN(a, b) JOIN2(a, b)\nint JOIN(v, __COUNTER__) = 1;\n";

// Arguments.
cases! {
    order_of_defines: ALL,
        |s| { s.source("-DA=1 -DA=2 -w", "int a = A;\n"); },
        |s| { s.source("-DA=2 -DA=1 -w", "int a = A;\n"); };
    define_and_undefine: ALL,
        |s| { s.source("-DA -UA", "#ifdef A\nint a;\n#endif\nint b;\n"); },
        |s| { s.source("-UA -DA", "#ifdef A\nint a;\n#endif\nint b;\n"); };
    last_optimisation_wins: ALL,
        |s| { s.source("-O0 -O2", "int f(int a) { int b = a; return b * 3; }\n"); },
        |s| { s.args(&format!("-O2 -O0 -c {} -o a.o", s.source_name())); };
    value_of_a_separate_flag: ALL,
        |s| { s.write("one/h.h", "#define H 1\n"); s.write("two/h.h", "#define H 2\n"); s.source("-I one", "#include <h.h>\nint a = H;\n"); },
        |s| { s.args(&format!("-I two -c {} -o a.o", s.source_name())); };
    prefix_map: ALL,
        |s| { s.source("-g -ffile-prefix-map={root}=/one", "int f(void) { return 1; }\n"); },
        |s| { s.args(&format!("-g -ffile-prefix-map={{root}}=/two -c {} -o a.o", s.source_name())); };
    macro_prefix_map: ALL,
        |s| { s.source("-fmacro-prefix-map=a.=x.", "const char *f = __FILE__;\n"); },
        |s| { s.args(&format!("-fmacro-prefix-map=a.=yy. -c {} -o a.o", s.source_name())); };
    recorded_command_line_of_gcc: GCC,
        |s| { s.source("-grecord-gcc-switches -g -fno-omit-frame-pointer", PLAIN); },
        |s| { s.args("-grecord-gcc-switches -g -fomit-frame-pointer -c a.c -o a.o"); };
    recorded_command_line_of_clang: CLANG,
        |s| { s.source("-frecord-command-line -DX=1", PLAIN); },
        |s| { s.args("-frecord-command-line -DX=2 -c a.c -o a.o"); };
    warnings_asked_for_later: ALL,
        |s| { s.source("-w", "int f(void) { int unused; return 1; }\n"); },
        |s| { s.args(&format!("-Wall -c {} -o a.o", s.source_name())); };
    warnings_become_errors: ALL,
        |s| { s.source("-Wall", "int f(void) { int unused; return 1; }\n"); },
        |s| { s.args(&format!("-Wall -Werror -c {} -o a.o", s.source_name())); };
    source_spelled_with_a_dot: ALL,
        |s| { s.source("", "const char *f = __FILE__;\n"); },
        |s| { s.args(&format!("-c ./{} -o a.o", s.source_name())); };
    source_spelled_absolutely: ALL,
        |s| { s.source("", "const char *f = __FILE__;\n"); },
        |s| { s.args(&format!("-c {{root}}/{} -o a.o", s.source_name())); };
    language_by_x: GCC,
        |s| { s.args("-x c -c a.i -o a.o"); s.write("a.i", "int class_ = sizeof('a');\n"); },
        |s| { s.args("-x c++ -c a.i -o a.o"); };
}

// Files that no depfile lists.
cases! {
    header_shadowed_by_a_new_one: ALL,
        |s| { s.write("two/h.h", "#define H 1\n"); s.mkdir("one"); s.source("-Ione -Itwo", "#include <h.h>\nint a = H;\n"); },
        |s| { s.write("one/h.h", "#define H 2\n"); };
    header_shadowed_in_a_directory_that_was_not_there: ALL,
        |s| { s.write("two/h.h", "#define H 1\n"); s.source("-Ione -Itwo", "#include <h.h>\nint a = H;\n"); },
        |s| { s.write("one/h.h", "#define H 2\n"); };
    header_shadowed_deep_in_a_path: ALL,
        |s| { s.write("two/x/y/h.h", "#define H 1\n"); s.mkdir("one/x"); s.source("-Ione -Itwo", "#include <x/y/h.h>\nint a = H;\n"); },
        |s| { s.write("one/x/y/h.h", "#define H 2\n"); };
    system_header_shadowed: ALL,
        |s| { s.mkdir("own"); s.source("-Iown", "#include <limits.h>\nint a = INT_MAX;\n"); },
        |s| { s.write("own/limits.h", "#define INT_MAX 3\n"); };
    header_beside_the_source_appears: ALL,
        |s| { s.write("inc/h.h", "#define H 1\n"); s.source("-Iinc", "#include \"h.h\"\nint a = H;\n"); },
        |s| { s.write("h.h", "#define H 2\n"); };
    quote_directory: ALL,
        |s| { s.write("two/h.h", "#define H 1\n"); s.mkdir("one"); s.source("-iquote one -Itwo", "#include \"h.h\"\nint a = H;\n"); },
        |s| { s.write("one/h.h", "#define H 2\n"); };
    has_include_finds_it_now: ALL,
        |s| { s.source("-I.", "#if __has_include(<maybe.h>)\nint yes;\n#else\nint no;\n#endif\n"); },
        |s| { s.write("maybe.h", "\n"); };
    has_include_finds_it_no_more: ALL,
        |s| { s.write("maybe.h", "\n"); s.source("-I.", "#if __has_include(<maybe.h>)\nint yes;\n#else\nint no;\n#endif\n"); },
        |s| { s.remove("maybe.h"); };
    has_include_next: ALL,
        |s| { s.write("one/h.h", "#if __has_include_next(<h.h>)\n#include_next <h.h>\n#else\nint none;\n#endif\n"); s.mkdir("two"); s.source("-Ione -Itwo", "#include <h.h>\nint a;\n"); },
        |s| { s.write("two/h.h", "int second;\n"); };
    header_goes: ALL,
        |s| { s.write("h.h", "#define H 1\n"); s.source("-I.", "#include <h.h>\nint a = H;\n"); },
        |s| { s.remove("h.h"); };
    header_becomes_a_directory: ALL,
        |s| { s.write("h.h", "#define H 1\n"); s.source("-I.", "#include <h.h>\nint a = H;\n"); },
        |s| { s.remove("h.h"); s.mkdir("h.h"); };
    shadowing_header_goes: ALL,
        |s| { s.write("one/h.h", "#define H 1\n"); s.write("two/h.h", "#define H 2\n"); s.source("-Ione -Itwo", "#include <h.h>\nint a = H;\n"); },
        |s| { s.remove("one/h.h"); };
    source_goes: ALL,
        |s| { s.source("", PLAIN); },
        |s| { s.remove(s.source_name()); };
    binary_included_by_the_assembler: ALL,
        |s| { s.write("blob.bin", "one"); s.source("", "__asm__(\".data\\n.incbin \\\"blob.bin\\\"\\n.text\\n\");\nint a;\n"); },
        |s| { s.write("blob.bin", "two"); };
    binary_included_by_pieces: ALL,
        |s| { s.write("blob.bin", "one"); s.source("", "#define INC \".inc\" \"bin\"\n__asm__(\".data\\n\" INC \" \\\"bl\" \"ob.bin\\\"\\n.text\\n\");\nint a;\n"); },
        |s| { s.write("blob.bin", "two"); };
    binary_included_from_an_earlier_directory: GCC,
        |s| { s.write("two/blob.bin", "one"); s.mkdir("one"); s.source("-Wa,-Ione,-Itwo", "__asm__(\".data\\n.incbin \\\"blob.bin\\\"\\n.text\\n\");\n"); },
        |s| { s.write("one/blob.bin", "two"); };
    binary_included_behind_a_link_to_a_directory: C,
        |s| { s.write("d1/x", "one"); s.write("d2/x", "two"); s.symlink("d1", "d"); s.source("", "__asm__(\".data\\n.incbin \\\"d/x\\\"\\n.text\\n\");\nint a;\n"); },
        |s| { s.symlink("d2", "d"); };
    file_included_by_the_assembler: C,
        |s| { s.write("m.inc", ".long 1\n"); s.write("a.s", ".data\n.include \"m.inc\"\n"); s.args("-c a.s -o a.o"); },
        |s| { s.write("m.inc", ".long 2\n"); };
    preprocessed_assembler: C,
        |s| { s.write("m.h", "#define N 1\n"); s.write("a.S", "#include \"m.h\"\n.data\n.long N\n"); s.args("-c a.S -o a.o"); },
        |s| { s.write("m.h", "#define N 2\n"); };
    forced_header: ALL,
        |s| { s.write("force.h", "#define H 1\n"); s.source("-include force.h", "int a = H;\n"); },
        |s| { s.write("force.h", "#define H 2\n"); };
    forced_macros: ALL,
        |s| { s.write("force.h", "#define H 1\n"); s.source("-imacros force.h", "int a = H;\n"); },
        |s| { s.write("force.h", "#define H 2\n"); };
    system_header_under_mmd: ALL,
        |s| { s.write("sys/h.h", "#define H 1\n"); s.source("-isystem sys -MMD", "#include <h.h>\nint a = H;\n"); },
        |s| { s.write("sys/h.h", "#define H 2\n"); };
    a_precompiled_header_appears: GCC,
        |s| { s.write("h.h", "int first;\n"); s.source("-I.", "#include \"h.h\"\nint a;\n"); },
        |s| { s.sh("printf 'int second;\\n' > other.h && gcc -x c-header other.h -o h.h.gch"); };
    a_precompiled_header_changes: GCC,
        |s| { s.write("h.h", "int first;\n"); s.sh("gcc h.h -o h.h.gch"); s.source("-I.", "#include \"h.h\"\nint a;\n"); s.may_hit_or_not(); },
        |s| { s.write("h.h", "int other;\n"); s.sh("gcc h.h -o h.h.gch"); };
    clang_precompiled_header_changes: CLANG,
        |s| { s.write("h.h", "int first;\n"); s.sh("clang -x c-header h.h -o h.pch"); s.source("-include-pch h.pch", "int a;\n"); s.may_hit_or_not(); },
        |s| { s.write("h.h", "int second;\n"); s.sh("clang -x c-header h.h -o h.pch"); };
    clang_precompiled_header_refuses_a_touched_header: CLANG,
        |s| { s.write("h.h", "int first;\n"); s.sh("clang -x c-header h.h -o h.pch"); s.source("-include-pch h.pch", "int a;\n"); s.may_hit_or_not(); },
        |s| { s.set_time("h.h", SystemTime::now() - Duration::from_secs(1000)); };
    profile_data_of_gcc: GCC,
        |s| { s.source("-O2 -fprofile-use -Wno-missing-profile", "int g(int);\nint f(int a) { if (a) return g(1); return g(2) + g(3); }\n"); },
        |s| { s.write("m.c", "int g(int a) { return a; }\nint f(int);\nint main(void) { int i, s = 0; for (i = 0; i < 999; i++) s += f(1); return s == 0; }\n"); s.sh("gcc -O2 -fprofile-generate -c a.c -o a.o && gcc -fprofile-generate a.o m.c -o p && ./p && ls a.gcda"); };
    sanitizer_list: CLANG,
        |s| { s.write("list.txt", "[address]\nfun:nobody\n"); s.source("-fsanitize=address -fsanitize-ignorelist=list.txt", "int f(int *a) { return *a; }\n"); },
        |s| { s.write("list.txt", "[address]\nfun:f\n"); };
    coverage_list: CLANG,
        |s| { s.write("list.txt", "fun:nobody\n"); s.source("-fsanitize-coverage=trace-pc-guard,func -fsanitize-coverage-allowlist=list.txt", "int f(int *a) { return *a; }\n"); },
        |s| { s.write("list.txt", "src:*\nfun:f\n"); };
    spec_file: GCC,
        |s| { s.write("own.specs", "*cc1_options:\n+ -DH=1\n\n"); s.source("-specs=own.specs", "#ifdef H\nint a = H;\n#endif\nint b;\n"); },
        |s| { s.write("own.specs", "*cc1_options:\n+ -O2 -fno-toplevel-reorder -ffunction-sections -fdata-sections\n\n"); };
    response_file: ALL,
        |s| { s.write("flags", "-DH=1"); s.source("@flags", "int a = H;\n"); },
        |s| { s.write("flags", "-DH=2"); };
    response_file_in_a_response_file: C,
        |s| { s.write("flags", "@more"); s.write("more", "-DH=1"); s.source("@flags", "int a = H;\n"); },
        |s| { s.write("more", "-DH=2"); };
    clang_config_file: CLANG,
        |s| { s.write("own.cfg", "-DH=1\n"); s.source("--config {root}/own.cfg", "int a = H;\n"); },
        |s| { s.write("own.cfg", "-DH=2\n"); };
    module_map: CLANG,
        |s| { s.write("inc/module.modulemap", "module M { header \"m.h\" }\n"); s.write("inc/m.h", "#define M 1\n"); s.source("-fmodules -fmodules-cache-path={root}/mc -Iinc", "#include <m.h>\nint a = M;\n"); s.may_hit_or_not(); s.remove_before_each("mc"); s.unstable(".idx"); s.unstable(".pcm"); s.unstable(".timestamp"); },
        |s| { s.write("inc/m.h", "#define M 2\n"); };
    header_map_by_vfs_overlay: CLANG,
        |s| { s.write("one.h", "#define H 1\n"); s.write("two.h", "#define H 2\n"); let p = s.path().display().to_string(); s.write("v.yaml", format!("{{'version':0,'roots':[{{'type':'file','name':'{p}/h.h','external-contents':'{p}/one.h'}}]}}")); s.source("-ivfsoverlay {root}/v.yaml -I.", "#include \"h.h\"\nint a = H;\n"); },
        |s| { let p = s.path().display().to_string(); s.write("v.yaml", format!("{{'version':0,'roots':[{{'type':'file','name':'{p}/h.h','external-contents':'{p}/two.h'}}]}}")); };
    linker_plugin_is_not_asked: CXX,
        |s| { s.write("h.hpp", "template<int N> struct S { static const int v = N; };\n"); s.source("-I.", "#include \"h.hpp\"\nint a = S<1>::v;\n"); },
        |s| { s.write("h.hpp", "template<int N> struct S { static const int v = N + 1; };\n"); };
}

// Symlinks.
cases! {
    symlinked_header_leads_elsewhere: ALL,
        |s| { s.write("v1.h", "#define H 1\n"); s.write("v2.h", "#define H 2\n"); s.symlink("v1.h", "h.h"); s.source("-I.", "#include <h.h>\nint a = H;\n"); },
        |s| { s.symlink("v2.h", "h.h"); };
    symlinked_directory_leads_elsewhere: ALL,
        |s| { s.write("v1/h.h", "#define H 1\n"); s.write("v2/h.h", "#define H 2\n"); s.symlink("v1", "inc"); s.source("-Iinc", "#include <h.h>\nint a = H;\n"); },
        |s| { s.symlink("v2", "inc"); };
    symlink_of_a_symlink_leads_elsewhere: ALL,
        |s| { s.write("v1/h.h", "#define H 1\n"); s.write("v2/h.h", "#define H 2\n"); s.symlink("v1", "current"); s.symlink("current/h.h", "h.h"); s.source("-I.", "#include <h.h>\nint a = H;\n"); },
        |s| { s.symlink("v2", "current"); };
    target_of_a_symlinked_directory_is_renamed: ALL,
        |s| { s.write("v1/h.h", "#define H 1\n"); s.symlink("v1", "inc"); s.source("-MD -g -Iinc", "#include <h.h>\nint a = H;\n"); s.same_result(); },
        |s| { s.rename("v1", "v9"); s.symlink("v9", "inc"); };
    dangling_symlink_comes_to_life: ALL,
        |s| { s.mkdir("one"); s.mkdir("far"); s.symlink("../far/h.h", "one/h.h"); s.write("two/h.h", "#define H 1\n"); s.source("-Ione -Itwo", "#include <h.h>\nint a = H;\n"); },
        |s| { s.write("far/h.h", "#define H 2\n"); };
    dangling_directory_comes_to_life: ALL,
        |s| { s.symlink("far/inc", "one"); s.write("two/h.h", "#define H 1\n"); s.source("-Ione -Itwo", "#include <h.h>\nint a = H;\n"); },
        |s| { s.write("far/inc/h.h", "#define H 2\n"); };
    file_in_the_way_becomes_a_directory: ALL,
        |s| { s.write("one", ""); s.write("two/h.h", "#define H 1\n"); s.source("-Ione -Itwo", "#include <h.h>\nint a = H;\n"); },
        |s| { s.remove("one"); s.write("one/h.h", "#define H 2\n"); };
    file_in_the_way_deep_becomes_a_directory: ALL,
        |s| { s.write("one/x", ""); s.write("two/x/h.h", "#define H 1\n"); s.source("-Ione -Itwo", "#include <x/h.h>\nint a = H;\n"); },
        |s| { s.remove("one/x"); s.write("one/x/h.h", "#define H 2\n"); };
    symlinked_source_leads_elsewhere: C,
        |s| { s.write("v1.c", "int a = 1;\n"); s.write("v2.c", "int a = 2;\n"); s.symlink("v1.c", "a.c"); s.args("-c a.c -o a.o"); },
        |s| { s.symlink("v2.c", "a.c"); };
    /// gcc writes the shortest real path of a system header; a header that moves with its directory keeps its stamp.
    directory_moves_and_leaves_a_symlink: GCC,
        |s| { s.write("some/long/way/h.h", "static inline int h(void) { return 1; }\n"); s.source("-g -MD -isystem {root}/some/long/way", "#include <h.h>\nint f(void) { return h(); }\n"); },
        |s| { s.rename("some", "s"); s.symlink("s", "some"); };
    directory_is_replaced_by_a_symlink_to_its_copy: GCC,
        |s| { s.write("some/long/way/h.h", "static inline int h(void) { return 1; }\n"); s.source("-g -MD -isystem {root}/some/long/way", "#include <h.h>\nint f(void) { return h(); }\n"); },
        |s| { s.sh("cp -a some s && rm -r some && ln -s s some"); };
    directory_below_a_searched_one_is_replaced_by_a_symlink_to_its_copy: GCC,
        |s| { s.write("some/long/way/h.h", "static inline int h(void) { return 1; }\n"); s.source("-g -MD -isystem {root}/some/long -isystem {root}/some/long/way", "#include <h.h>\nint f(void) { return h(); }\n"); },
        |s| { s.sh("cp -a some/long/way w && rm -r some/long/way && ln -s ../../w some/long/way"); };
    step_up_comes_to_lead_elsewhere: ALL,
        |s| { s.mkdir("x"); s.write("inc/h.h", "#define H 1\n"); s.mkdir("far/x"); s.write("far/inc/h.h", "#define H 2\n"); s.source("-Ix/../inc", "#include <h.h>\nint a = H;\n"); },
        |s| { s.remove("x"); s.symlink("far/x", "x"); };
    step_up_behind_a_symlink: ALL,
        |s| { s.write("inc/h.h", "#define H 1\n"); s.mkdir("far/x"); s.write("far/inc/h.h", "#define H 2\n"); s.symlink("far/x", "x"); s.source("-Ix/../inc", "#include <h.h>\nint a = H;\n"); },
        |s| { s.write("far/inc/h.h", "#define H 3\n"); };
    absence_with_a_step_up: ALL,
        |s| { s.mkdir("one"); s.mkdir("far/x"); s.mkdir("far/one"); s.symlink("far/x", "x"); s.write("two/h.h", "#define H 1\n"); s.source("-Itwo/../one -Ix/../one -Itwo", "#include <h.h>\nint a = H;\n"); },
        |s| { s.write("far/one/h.h", "#define H 2\n"); };
    absence_with_a_plain_step_up: ALL,
        |s| { s.mkdir("one"); s.write("two/h.h", "#define H 1\n"); s.source("-Itwo/../one -Itwo", "#include <h.h>\nint a = H;\n"); },
        |s| { s.write("one/h.h", "#define H 2\n"); };
    header_is_replaced_by_a_symlink_to_its_copy: GCC,
        |s| { s.write("some/long/way/h.h", "static inline int h(void) { return 1; }\n"); s.source("-g -MD -isystem {root}/some/long/way", "#include <h.h>\nint f(void) { return h(); }\n"); },
        |s| { s.sh("cp -a some/long/way/h.h h.h && ln -sf ../../../h.h some/long/way/h.h"); };
    pwd_comes_to_name_the_working_directory: C,
        |s| { s.write("there/p/a.c", PLAIN); s.mkdir("here/p"); s.cwd("there/p"); s.env("PWD", "{root}/here/p"); s.args("-g -c a.c -o a.o"); },
        |s| { s.remove("here"); s.symlink("there", "here"); };
    hard_linked_header_parts: C,
        |s| { s.write("x.h", "#pragma once\nint a;\n"); s.hard_link("x.h", "y.h"); s.source("-I.", "#include \"x.h\"\n#include \"y.h\"\nint b;\n"); s.same_result(); },
        |s| { s.remove("y.h"); s.write("y.h", "#pragma once\nint a;\n"); };
    equal_headers_become_one_file: CLANG,
        |s| { for name in ["x.h", "y.h"] { s.write(name, ONCE_AND_COUNTED); } s.source("-I.", "#include \"x.h\"\n#include \"y.h\"\n"); },
        |s| { s.remove("y.h"); s.hard_link("x.h", "y.h"); };
    equal_headers_become_one_by_a_symlink: CLANG,
        |s| { for name in ["x.h", "y.h"] { s.write(name, ONCE_AND_COUNTED); } s.source("-I.", "#include \"x.h\"\n#include \"y.h\"\n"); },
        |s| { s.remove("y.h"); s.symlink("x.h", "y.h"); };
    /// gcc takes headers of the same content for one only if their times are the same.
    equal_headers_come_to_differ_in_time: GCC,
        |s| { for name in ["x.h", "y.h"] { s.write(name, ONCE_AND_COUNTED); s.set_time(name, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)); } s.source("-I.", "#include \"x.h\"\n#include \"y.h\"\n"); },
        |s| { s.touch("y.h"); };
    pragma_once_files_come_to_differ: C,
        |s| { s.write("p/x.h", "#pragma once\nenum { A };\n"); s.mkdir("q"); s.symlink("../p/x.h", "q/x.h"); s.source("-I.", "#include \"p/x.h\"\n#include \"q/x.h\"\nint b;\n"); },
        |s| { s.remove("q/x.h"); s.write("q/x.h", "#pragma once\nenum { B };\n#include \"p/x.h\"\nint only;\n"); };
}

// The toolchain.
cases! {
    another_assembler_first_on_path: GCC,
        |s| { s.write_program("bin/as", "#!/bin/sh\nexec /usr/bin/as \"$@\"\n"); s.source("", PLAIN); s.env("PATH", "{root}/bin:/usr/bin:/bin"); s.sh("rm bin/as"); },
        |s| { s.write_program("bin/as", "#!/bin/sh\nexec /usr/bin/as --defsym extra_symbol=7 \"$@\"\n"); };
    an_assembler_in_a_b_directory: GCC,
        |s| { s.mkdir("tools"); s.source("-B{root}/tools/", PLAIN); },
        |s| { s.write_program("tools/as", "#!/bin/sh\nexec /usr/bin/as --defsym extra_symbol=7 \"$@\"\n"); };
    assembler_replaced: GCC,
        |s| { s.write_program("tools/as", "#!/bin/sh\nexec /usr/bin/as \"$@\"\n"); s.source("-B{root}/tools/", PLAIN); s.may_hit_or_not(); },
        |s| { s.write_program("tools/as", "#!/bin/sh\nexec /usr/bin/as --defsym extra_symbol=7 \"$@\"\n"); };
    compiler_script_replaced_with_the_same_version: GCC,
        |s| { s.write_program("bin/gcc", "#!/bin/sh\nexec /usr/bin/gcc -DH=1 \"$@\"\n"); s.tool("{root}/bin/gcc"); s.write("a.c", "int a = H;\n"); s.args("-c a.c -o a.o"); s.may_hit_or_not(); },
        |s| { s.write_program("bin/gcc", "#!/bin/sh\nexec /usr/bin/gcc -DH=2 \"$@\"\n"); };
    compiler_appears_earlier_on_path: GCC,
        |s| { s.mkdir("bin"); s.write("a.c", "#ifndef H\n#define H 1\n#endif\nint a = H;\n"); s.args("-c a.c -o a.o"); s.env("PATH", "{root}/bin:/usr/bin:/bin"); s.may_hit_or_not(); },
        |s| { s.write_program("bin/gcc", "#!/bin/sh\nexec /usr/bin/gcc -DH=2 \"$@\"\n"); };
    toolchain_switched_behind_a_symlink: GCC,
        |s| { s.write_program("v1/gcc", "#!/bin/sh\nexec /usr/bin/gcc -DH=1 \"$@\"\n"); s.write_program("v2/gcc", "#!/bin/sh\nexec /usr/bin/gcc -DH=2 \"$@\"\n"); s.symlink("v1", "current"); s.tool("{root}/current/gcc"); s.write("a.c", "int a = H;\n"); s.args("-c a.c -o a.o"); s.may_hit_or_not(); },
        |s| { s.symlink("v2", "current"); };
    preloaded_library_changes: GCC,
        |s| { s.sh("printf 'int one;' > l.c && gcc -shared -fPIC l.c -o l.so"); s.source("-O1", "int a = 1;\n"); s.env("LD_PRELOAD", "{root}/l.so"); s.may_hit_or_not(); s.same_result(); },
        |s| { s.sh("printf 'int two;' > l.c && gcc -shared -fPIC l.c -o l2.so && mv l2.so l.so"); };
}

// Environment.
cases! {
    cpath: ALL,
        |s| { s.write("one/h.h", "#define H 1\n"); s.write("two/h.h", "#define H 2\n"); s.env("CPATH", "{root}/one"); s.source("", "#include <h.h>\nint a = H;\n"); },
        |s| { s.env("CPATH", "{root}/two"); };
    c_include_path: C,
        |s| { s.write("one/h.h", "#define H 1\n"); s.write("two/h.h", "#define H 2\n"); s.env("C_INCLUDE_PATH", "one"); s.source("", "#include <h.h>\nint a = H;\n"); },
        |s| { s.env("C_INCLUDE_PATH", "two"); };
    cplus_include_path: CXX,
        |s| { s.write("one/h.h", "#define H 1\n"); s.write("two/h.h", "#define H 2\n"); s.env("CPLUS_INCLUDE_PATH", "one"); s.source("", "#include <h.h>\nint a = H;\n"); },
        |s| { s.env("CPLUS_INCLUDE_PATH", "two"); };
    cpath_appears: ALL,
        |s| { s.write("h.h", "#define H 1\n"); s.write("two/h.h", "#define H 2\n"); s.source("-idirafter .", "#include <h.h>\nint a = H;\n"); },
        |s| { s.env("CPATH", "two"); };
    epoch_in_a_date: ALL,
        |s| { s.env("SOURCE_DATE_EPOCH", "100000"); s.source("-Wno-builtin-macro-redefined", "const char *d = __DATE__ __TIME__;\n"); s.may_hit_or_not(); if !crate::tools::is_gcc(&s.tool) { s.same_result(); s.source("", PLAIN); } },
        |s| { s.env("SOURCE_DATE_EPOCH", "999999999"); };
    clang_override_options: CLANG,
        |s| { s.source("-O0", "int f(int a) { int b = a; return b * 3; }\n"); s.env("CCC_OVERRIDE_OPTIONS", "#"); },
        |s| { s.env("CCC_OVERRIDE_OPTIONS", "# O2"); };
    clang_override_options_appear: CLANG,
        |s| { s.source("-O0", "int f(int a) { int b = a; return b * 3; }\n"); },
        |s| { s.env("CCC_OVERRIDE_OPTIONS", "# +-O2"); };
    gcc_colors: GCC,
        |s| { s.source("-Wall -fdiagnostics-color=always", "int f(void) { int unused; return 1; }\n"); },
        |s| { s.env("GCC_COLORS", "warning=01;32"); };
    gcc_colors_go: GCC,
        |s| { s.source("-Wall -fdiagnostics-color=always", "int f(void) { int unused; return 1; }\n"); s.env("GCC_COLORS", "warning=01;32"); },
        |s| { s.unset("GCC_COLORS"); };
    gcc_diagnostic_urls: GCC,
        |s| { s.source("-Wall -fdiagnostics-urls=always", "int f(void) { int unused; return 1; }\n"); s.env("GCC_URLS", "st"); },
        |s| { s.env("GCC_URLS", "bel"); };
    locale_of_messages: GCC,
        |s| { s.source("-Wall", "int f(void) { int unused; return 1; }\n"); s.env("LC_ALL", "C"); },
        |s| { s.env("LC_ALL", "C.UTF-8"); };
    locale_by_lang: GCC,
        |s| { s.source("-Wall", "int f(void) { int unused; return 1; }\n"); s.env("LANG", "C.UTF-8"); },
        |s| { s.env("LANG", "C"); };
    pwd_in_debug_info: ALL,
        |s| { s.source("-g", PLAIN); s.mkdir("far"); let p = s.path().to_path_buf(); std::os::unix::fs::symlink(&p, p.join("far/back")).unwrap(); s.env("PWD", "{root}"); },
        |s| { s.env("PWD", "{root}/far/back"); };
    pwd_goes: ALL,
        |s| { s.source("-g", PLAIN); s.mkdir("far"); let p = s.path().to_path_buf(); std::os::unix::fs::symlink(&p, p.join("far/back")).unwrap(); s.env("PWD", "{root}/far/back"); },
        |s| { s.unset("PWD"); };
    dependencies_output: GCC,
        |s| { s.source("", PLAIN); s.remove_before_each("d1"); s.remove_before_each("d2"); s.env("DEPENDENCIES_OUTPUT", "d1"); s.may_hit_or_not(); },
        |s| { s.env("DEPENDENCIES_OUTPUT", "d2 target"); };
    sunpro_dependencies: GCC,
        |s| { s.source("", PLAIN); s.remove_before_each("d1"); s.may_hit_or_not(); },
        |s| { s.env("SUNPRO_DEPENDENCIES", "d1"); };
    gcc_exec_prefix: GCC,
        |s| { s.source("", PLAIN); s.may_hit_or_not(); s.same_result(); },
        |s| { s.env("GCC_EXEC_PREFIX", "/usr/lib/gcc/"); };
    compiler_path: GCC,
        |s| { s.source("", PLAIN); },
        |s| { s.write_program("tools/as", "#!/bin/sh\nexec /usr/bin/as --defsym extra_symbol=7 \"$@\"\n"); s.env("COMPILER_PATH", "{root}/tools"); };
}

// Time.
cases! {
    timestamp_of_the_source: ALL,
        |s| { s.source("-Wno-date-time", "const char *t = __TIMESTAMP__;\n"); s.set_time(s.source_name(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)); s.may_hit_or_not(); },
        |s| { s.set_time(s.source_name(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_100_000_000)); };
    timestamp_and_time_zone: ALL,
        |s| { s.source("", "const char *t = __TIMESTAMP__;\n"); s.set_time(s.source_name(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)); s.may_hit_or_not(); s.env("TZ", "UTC"); },
        |s| { s.env("TZ", "EST5"); };
    the_date: ALL,
        |s| { s.source("", "const char *d = __DATE__;\n"); s.never_hits(); s.same_result(); },
        |_s| {};
    date_in_a_comment_is_no_reason: ALL,
        |s| { s.source("", "/* __DATE__ __TIME__ */\nint a;\n"); },
        |s| { s.write(s.source_name(), "/* __DATE__ __TIME__ */\nint b;\n"); };
    same_size_edit_with_the_time_put_back: ALL,
        |s| { s.source("", "int a = 1;\n"); },
        |s| { s.write_unnoticed(s.source_name(), "int a = 2;\n"); };
    same_size_edit_of_a_header_with_the_time_put_back: ALL,
        |s| { s.write("h.h", "#define H 1\n"); s.source("-I.", "#include <h.h>\nint a = H;\n"); },
        |s| { s.write_unnoticed("h.h", "#define H 2\n"); };
    header_from_the_future: ALL,
        |s| { s.write("h.h", "#define H 1\n"); s.set_time("h.h", SystemTime::now() + Duration::from_secs(9999)); s.source("-I.", "#include <h.h>\nint a = H;\n"); },
        |s| { let t = std::fs::metadata(s.at("h.h")).unwrap().modified().unwrap(); s.write("h.h", "#define H 2\n"); s.set_time("h.h", t); };
    header_replaced_by_an_older_file: ALL,
        |s| { s.write("h.h", "#define H 1\n"); s.write("old.h", "#define H 2\n"); s.set_time("old.h", SystemTime::UNIX_EPOCH + Duration::from_secs(9)); s.source("-I.", "#include <h.h>\nint a = H;\n"); },
        |s| { s.rename("old.h", "h.h"); };
}

// Place.
cases! {
    another_working_directory: ALL,
        |s| { s.mkdir("d"); s.source("-g", PLAIN); s.args(&format!("-g -c {{root}}/{} -o {{root}}/a.o", s.source_name())); },
        |s| { s.cwd("d"); };
    another_working_directory_with_equal_files: ALL,
        |s| { s.source("-g", PLAIN); let name = s.source_name(); s.write(&format!("x/{name}"), PLAIN); s.write(&format!("y/{name}"), PLAIN); s.cwd("x"); },
        |s| { s.cwd("y"); };
    file_macro_of_another_directory: ALL,
        |s| { let name = s.source_name(); s.source("", ""); for d in ["x", "y"] { s.write(&format!("{d}/{name}"), "const char *f = __FILE__;\n"); } s.args(&format!("-c {{root}}/x/{name} -o a.o")); },
        |s| { s.args(&format!("-c {{root}}/y/{} -o a.o", s.source_name())); };
    depfile_names_another_target: ALL,
        |s| { s.source("-MD -MF a.d -MT one", PLAIN); },
        |s| { s.args(&format!("-MD -MF a.d -MT two -c {} -o a.o", s.source_name())); };
    depfile_by_another_name: ALL,
        |s| { s.source("-MD -MF a.d", PLAIN); },
        |s| { s.args(&format!("-MD -MF b.d -c {} -o a.o", s.source_name())); };
    output_by_another_name: ALL,
        |s| { s.source("-MD", PLAIN); },
        |s| { s.args(&format!("-MD -c {} -o b.o", s.source_name())); };
    umask_of_the_build: ALL,
        |s| { s.source("", PLAIN); s.remove_before_each("a.o"); s.umask(0o022); },
        |s| { s.umask(0o077); };
    coverage_directory: GCC,
        |s| { s.mkdir("d"); s.source("--coverage", PLAIN); s.args("--coverage -c {root}/a.c -o {root}/a.o"); s.may_hit_or_not(); s.unstable("a.gcno"); s.unstable("a.o"); },
        |s| { s.cwd("d"); };
}

#[test]
fn a_result_for_this_very_cpu_is_right() {
    play(C, |s| s.source("-march=native", PLAIN), |s| s.source("-march=native -O1", "int g;\n"));
}

#[test]
fn an_edit_right_behind_the_compile() {
    for _ in 0..if crate::tools::long() { 20 } else { 3 } {
        play_at_once(
            C,
            |s| s.source("", "int a = 1;\n"),
            |s| s.write(s.source_name(), "int a = 2;\n"),
        );
    }
}

#[test]
fn an_edit_of_a_header_right_behind_the_compile() {
    play_at_once(
        C,
        |s| {
            s.write("h.h", "#define H 1\n");
            s.source("-I.", "#include <h.h>\nint a = H;\n");
        },
        |s| s.write("h.h", "#define H 2\n"),
    );
}

/// Generated, compiled, generated again with the same size, compiled, without a pause anywhere.
#[test]
fn inputs_made_a_moment_ago() {
    use crate::{cache::Cache, project::Project, tools};
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), Project::new());
        let rounds = if tools::long() { 100 } else { 12 };
        for round in 0..rounds {
            project.write("h.h", format!("#define H {}\n", 100 + round));
            project.write("a.c", format!("#include \"h.h\"\nint a{} = H;\n", 100 + round / 2));
            project.call(&cache, &format!("{tool} -c a.c -o a.o")).at_once().check();
        }
    }
}

/// A shadowing header that appears and goes again, each right behind a compile.
#[test]
fn a_header_that_comes_and_goes() {
    use crate::{cache::Cache, project::Project, tools};
    for tool in tools::present(C) {
        let cache = Cache::new();
        let project = Project::with(&[
            ("a.c", "#include <h.h>\nint a = H;\n"),
            ("two/h.h", "#define H 1\n"),
            ("one/other.h", ""),
        ]);
        let line = format!("{tool} -Ione -Itwo -c a.c -o a.o");
        for _ in 0..3 {
            project.call(&cache, &line).at_once().check();
            project.write("one/h.h", "#define H 2\n");
            project.call(&cache, &line).at_once().check();
            project.remove("one/h.h");
        }
    }
}

/// An input that is edited while the compiler runs must not be stored under its new stamp.
#[test]
fn an_input_changes_while_the_compiler_runs() {
    use crate::{cache::Cache, project::Project, tools};
    for tool in tools::present(C) {
        let cache = Cache::new();
        // The shell runs as part of the tool: it edits the header after the compiler has read it.
        let project =
            Project::with(&[("a.c", "#include \"h.h\"\nint a = H;\n"), ("h.h", "#define H 1\n")]);
        let script = format!("#!/bin/sh\n{tool} \"$@\" && printf '#define H 2\\n' > h.h\n");
        project.write_program("gcc", &script);
        let mut compile = cache.ibid(["./gcc", "-c", "a.c", "-o", "a.o"]);
        assert!(compile.current_dir(project.path()).status().unwrap().success());
        project.write_program("gcc", &format!("#!/bin/sh\nexec {tool} \"$@\"\n"));
        project.call(&cache, "./gcc -c a.c -o a.o").check();
    }
}

/// What the compiler looked for in vain appears while it still runs, long enough for us to have looked there too.
#[test]
fn a_header_appears_while_the_compiler_runs() {
    use crate::{cache::Cache, project::Project, tools};
    for tool in tools::present(C) {
        let cache = Cache::new();
        let project = Project::with(&[
            ("a.c", "#include <h.h>\nint a = H;\n"),
            ("two/h.h", "#define H 1\n"),
            ("one/other.h", ""),
        ]);
        // The shell runs as part of the tool.
        let line = "./gcc -Ione -Itwo -c a.c -o a.o";
        let later = "sleep 0.1; printf '#define H 2\\n' > one/h.h";
        project.write_program(
            "gcc",
            &format!("#!/bin/sh\n{tool} \"$@\" && if [ ! -e one/h.h ]; then {later}; fi\n"),
        );
        let mut compile = cache.ibid(line.split(' '));
        assert!(compile.current_dir(project.path()).status().unwrap().success());
        project.call(&cache, line).check();
        project.call(&cache, line).check();
    }
}

/// A script before the compiler makes what is missing; what is there by then is not its own.
#[test]
fn a_script_makes_a_header_that_is_missing() {
    use crate::{cache::Cache, project::Project, tools};
    for tool in tools::present(C) {
        let cache = Cache::new();
        let project = Project::with(&[("a.c", "#include \"h.h\"\nint a = H;\n")]);
        let make = "[ -e h.h ] || echo '#define H 1' > h.h";
        project.write_program("gcc", &format!("#!/bin/sh\n{make}\nexec {tool} \"$@\"\n"));
        for header in [None, Some("#define H 2\n"), Some("#define H 3\n"), None] {
            if let Some(text) = header {
                project.write("h.h", text);
            }
            project.call(&cache, "./gcc -c a.c -o a.o").check();
            project.remove("h.h");
        }
    }
}

#[test]
fn a_plugin_that_changes() {
    // Building a plugin needs headers that few machines have; a plugin that cannot be loaded is enough to see
    // whether it is looked at: the failure must be the compiler's own, each time.
    play(
        GCC,
        |s| {
            s.sh("printf 'int plugin_is_GPL_compatible; int plugin_init(void *i, void *v) { return 0; }' > p.c && gcc -shared -fPIC p.c -o p.so");
            s.source("-fplugin={root}/p.so", PLAIN);
            s.may_hit_or_not();
        },
        |s| {
            s.sh("printf 'int plugin_is_GPL_compatible; int plugin_init(void *i, void *v) { return 1; }' > p.c && gcc -shared -fPIC p.c -o p2.so && mv p2.so p.so");
        },
    );
}

/// `__TIME__` is never served from the cache.
#[test]
fn the_time_of_day() {
    use crate::{
        cache::{Cache, Outcome},
        project::Project,
        tools,
    };
    for tool in tools::present(C) {
        let cache = Cache::new();
        let project = Project::with(&[("a.c", "const char *t = __TIME__;\n")]);
        for _ in 0..2 {
            let counted = cache.count(|| {
                let mut compile = cache.ibid([tool, "-c", "a.c", "-o", "a.o"]);
                assert!(compile.current_dir(project.path()).status().unwrap().success());
            });
            assert_eq!(counted.outcome(), Outcome::NotStored("used_time".into()), "{tool}");
        }
    }
}
