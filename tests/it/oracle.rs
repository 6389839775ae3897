//! The oracle: real tools under both observers. What the system calls showed and the shim did not see is a failure.
//!
//! A new case is a line in `CORPUS`; lines run in order in one directory, so that one can use what another made.
//! `{rustc}` is the compiler itself, past rustup; `{python}` the system's Python.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cache::Cache;
use crate::project::Project;
use crate::tools;

const CORPUS: &str = "
gcc -c -Iinc a.c -o a.o
gcc -c -Iinc b.c -o b.o -Wall -Wextra
gcc -O2 -g -Iinc -Imissing -MD -MF a.d -fstack-usage -fdump-tree-optimized -c a.c -o a2.o
gcc -save-temps -Iinc -c a.c -o st.o
gcc -pipe -Iinc -c a.c -o pipe.o
gcc -flto -Iinc -c b.c -o lto.o
gcc -gsplit-dwarf -Iinc -c a.c -o dwo.o
gcc --coverage -Iinc -c a.c -o cov.o
gcc -c s.S -o s.o
gcc -Iinc -S b.c -o b.s
gcc -Iinc a.c b.c -o prog
gcc -shared -fPIC -Iinc b.c -o libb.so
gcc -flto -Iinc a.c b.c -o ltoprog
g++ -std=c++20 -c a.cc -o acc.o
g++ -O2 -g -MMD -c a.cc -o acc2.o
g++ -x c++-header inc/b.h -o b.gch
clang -c -Iinc a.c -o ca.o
clang -O2 -g -Iinc -MD -ftime-trace -c a.c -o ca2.o
clang -fno-integrated-as -Iinc -c a.c -o cas.o
clang -save-temps=obj -Iinc -c a.c -o cst.o
clang -Iinc a.c b.c -o cprog
clang -flto -Iinc -c b.c -o clto.o
clang++ -std=c++17 -c a.cc -o cacc.o
clang++ -O2 -g -fsave-optimization-record -c a.cc -o cacc2.o
clang++ -x c++-header inc/b.h -o b.pch
clang-tidy --checks=* a.c -- -Iinc
ar rcs libx.a a.o b.o
ar r libx.a s.o
ranlib libx.a
ld -r a.o b.o -o r.o
strip -o stripped prog
objcopy --strip-debug a2.o oc.o
nm a.o
as b.s -o as.o
{rustc} --crate-type rlib --emit link,metadata,dep-info lib.rs --out-dir out
{rustc} --edition 2021 --extern proc_macro --crate-type proc-macro --crate-name m mac.rs --out-dir out
{rustc} --edition 2021 --extern m=out/libm.so -L dependency=out use.rs --emit metadata,dep-info --out-dir out
{rustc} --edition 2021 --extern m=out/libm.so use.rs -o useprog
{rustc} --test lib.rs -o testprog
{python} tool.py
./wrap -Iinc -c a.c -o w.o
bash list.sh
sh links.sh
sed -n 1p a.c
sort a.c -o sorted
tar cf t.tar a.c inc
install -m 755 a.c installed
find . -name *.c
";

/// What the shim need not see, each with its reason.
const MAY_MISS: &[(&str, &str)] = &[];

const FILES: &[(&str, &str)] = &[
    (
        "a.c",
        "#include <stdio.h>\n#include \"b.h\"\n#if __has_include(\"missing.h\")\n#include \"missing.h\"\n#endif\n\
         int main(void) { puts(\"x\"); return b(); }\n",
    ),
    ("b.c", "#include \"b.h\"\nint b(void) { int unused; return 0; }\n"),
    ("inc/b.h", "int b(void);\n"),
    (
        "a.cc",
        "#include <string>\n#include <vector>\nint f() { return std::vector<std::string>(3).size(); }\n",
    ),
    ("s.S", ".globl s\ns: ret\n.incbin \"inc/b.h\"\n"),
    (
        "lib.rs",
        "mod sub;\npub const T: &str = include_str!(\"a.c\");\npub fn f() -> usize { sub::g() }\n",
    ),
    ("sub.rs", "pub fn g() -> usize { std::env::args().count() }\n"),
    (
        "mac.rs",
        "use proc_macro::TokenStream;\n#[proc_macro]\npub fn m(_: TokenStream) -> TokenStream {\n\
         let n = std::fs::read_dir(\"inc\").unwrap().count() + std::env::var(\"SOME\").unwrap_or_default().len();\n\
         let _ = std::fs::read_to_string(\"none.txt\");\n\
         format!(\"pub const N: usize = {n};\").parse().unwrap()\n}\n",
    ),
    ("use.rs", "m::m!();\nfn main() { println!(\"{}\", N); }\n"),
    (
        "tool.py",
        "import glob, json, os, subprocess, tempfile\n\
         for name in sorted(os.listdir('inc')): open(os.path.join('inc', name)).read()\n\
         os.path.exists('nothing'); glob.glob('*.rs'); os.environ.get('SOME')\n\
         with tempfile.TemporaryDirectory(dir='.') as d:\n    open(os.path.join(d, 't'), 'w').write('x')\n    \
         os.rename(os.path.join(d, 't'), 'py.tmp')\n\
         os.replace('py.tmp', 'py.out')\n\
         subprocess.run(['cat', 'a.c'], stdout=subprocess.DEVNULL, check=True)\n",
    ),
    ("list.sh", "for f in *.c; do cat \"$f\"; done > cats; mkdir -p d && mv cats d/ && rm -r d\n"),
    (
        "links.sh",
        "cd inc && cp b.h copy.h && ln -s b.h link.h && cat link.h > read.h && rm copy.h link.h\n",
    ),
];

const WRAPPER: &str =
    "#!/bin/sh\nset -e\nif [ -f ./flags ]; then f=$(cat ./flags); fi\nexec gcc $f \"$@\"\n";

/// What `{rustc}` and the like stand for; a tool that is not here is none.
fn words(line: &str) -> Option<Vec<PathBuf>> {
    let mut words = line.split(' ').map(PathBuf::from);
    let tool = match words.next()?.to_str()? {
        "{rustc}" if tools::have("rustc") => {
            let told = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
            Path::new(String::from_utf8(told.stdout).unwrap().trim()).join("bin/rustc")
        }
        "{rustc}" => return None,
        "{python}" => ["/usr/bin/python3"].iter().map(PathBuf::from).find(|path| path.is_file())?,
        tool if tool.contains('/') || tools::have(tool) => tool.into(),
        _ => return None,
    };
    Some([tool].into_iter().chain(words).collect())
}

/// Why the kernel does not let system calls be watched here, if it does not.
pub fn unwatchable(log: &str) -> Option<&str> {
    log.lines().find(|line| line.contains("cannot be watched:"))
}

#[test]
fn the_shim_sees_what_the_system_calls_show() {
    let (cache, project) = (Cache::new(), Project::with(FILES));
    let cache = cache.with("IBID_OBSERVER", "seccomp").with("IBID_RECACHE", "1");
    project.write_program("wrap", WRAPPER);
    project.mkdir("out");
    let log = cache.root().join("log");
    let (mut missed, mut lines) = (Vec::new(), 0);
    for line in CORPUS.lines().filter(|line| !line.is_empty()) {
        let Some(words) = words(line) else { continue };
        let mut call = cache.ibid(["exec", "--"]);
        call.args(words).current_dir(project.path()).env("IBID_LOG", &log).env("LANG", "C.UTF-8");
        let done = call.stdin(Stdio::null()).output().unwrap();
        let told = fs::read_to_string(&log).unwrap_or_default();
        fs::remove_file(&log).unwrap();
        if let Some(reason) = unwatchable(&told) {
            assert!(std::env::var_os("CI").is_none(), "{reason}");
            return tools::skip(reason);
        }
        assert!(done.status.success(), "{line}: {done:?}");
        assert!(told.contains("watched by both observers"), "{line}: {told}");
        lines += 1;
        for (_, what) in told.lines().filter_map(|line| line.split_once("the shim missed: ")) {
            if !MAY_MISS.iter().any(|(path, _)| what.ends_with(path)) {
                missed.push(format!("{line}: {what}"));
            }
        }
    }
    assert!(missed.is_empty(), "{:#?}", missed.iter().take(40).collect::<Vec<_>>());
    assert!(lines > 30, "only {lines} lines could be run");
}
