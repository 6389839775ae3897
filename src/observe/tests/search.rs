//! The model of the loader's search against the loader's own account of it (`LD_DEBUG=libs`), in generated cases.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::Place;

/// Numbers that look random, the same at each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

const DIRECTORIES: [&str; 4] = ["d0", "d1", "d2/glibc-hwcaps/x86-64-v2", "d3/tls/x86_64"];
const LIBRARIES: [&str; 4] = ["libp.so.1", "libq.so.1", "libr.so.1", "libs.so.1"];
/// Elements of a search path, of the program or in the environment.
const ELEMENTS: [&str; 12] = [
    "",
    ".",
    "d0",
    "{root}/d1",
    "{root}/d2",
    "{root}/d3",
    "{root}/none",
    "$ORIGIN/d1",
    "${ORIGIN}/d2",
    "$ORIGIN/d3/",
    "{root}/file",
    "{root}/$LIB",
];

/// A random list of directories.
fn list(numbers: &mut Numbers, place: &Place, separators: &[&str]) -> String {
    let mut text = String::new();
    for index in 0..numbers.below(4) {
        if index > 0 {
            text += numbers.one_of(separators);
        }
        text += numbers.one_of(&ELEMENTS);
    }
    text.replace("{root}", place.path("").to_str().expect("plain")).replace("//", "/")
}

/// A library that wants the later ones of [`LIBRARIES`], some of them, with search paths of some kind.
fn link(numbers: &mut Numbers, place: &Place, output: &str, source: &str, rest: &[&str]) {
    let mut words = vec!["gcc".to_owned(), source.to_owned(), "-o".to_owned(), output.to_owned()];
    if source == "l.c" {
        let soname = Path::new(output).file_name().expect("a name").to_str().expect("plain");
        words.extend(["-shared".into(), "-fPIC".into(), format!("-Wl,-soname,{soname}")]);
    }
    words.push("-Wl,--no-as-needed,--allow-shlib-undefined".into());
    let kind = numbers.one_of(&["--enable-new-dtags", "--disable-new-dtags"]);
    let paths = list(numbers, place, &[":"]);
    if !paths.is_empty() {
        words.push(format!("-Wl,{kind},-rpath,{paths}"));
    }
    for name in rest {
        if numbers.below(3) > 0 {
            words.push(format!("stubs/{name}"));
        }
    }
    place.run_args(&words.iter().map(String::as_str).collect::<Vec<_>>());
}

/// The files that the loader says it has tried.
fn tried(text: &str) -> BTreeSet<PathBuf> {
    let names = text.lines().filter_map(|line| line.split("trying file=").nth(1));
    names.map(PathBuf::from).collect()
}

fn build(numbers: &mut Numbers, place: &Place) {
    place.write("l.c", "int l;\n");
    place.write("m.c", "int main(void) { return 0; }\n");
    place.write("dl.c", "#include <dlfcn.h>\nint main(void) { dlopen(\"libs.so.1\", 1); dlopen(\"libnone.so\", 1); return 0; }\n");
    place.write("file", "");
    for directory in DIRECTORIES.iter().chain(&["stubs"]) {
        fs::create_dir_all(place.path(directory)).expect("a directory");
    }
    for name in LIBRARIES {
        place.run(&format!("gcc -shared -fPIC l.c -Wl,-soname,{name} -o stubs/{name}"));
    }
    for (index, name) in LIBRARIES.iter().enumerate() {
        let directory = numbers.one_of(&DIRECTORIES);
        link(numbers, place, &format!("{directory}/{name}"), "l.c", &LIBRARIES[index + 1..]);
    }
    let source = numbers.one_of(&["m.c", "dl.c"]);
    link(numbers, place, "program", source, &LIBRARIES);
}

fn check(numbers: &mut Numbers, place: &Place) -> bool {
    let library_path = list(numbers, place, &[":", ";"]);
    let preload = numbers.one_of(&["", "", "libnone.so", "libs.so.1", "./d0/libp.so.1 libr.so.1"]);
    let with = |command: &mut std::process::Command| {
        let ours = command.get_envs().find(|(name, _)| *name == "LD_PRELOAD");
        let ours =
            ours.and_then(|(_, value)| Some(value?.to_str()?.to_owned())).unwrap_or_default();
        command.env("LD_PRELOAD", format!("{preload}:{ours}"));
        command.env("LD_DEBUG", "libs").env("LD_LIBRARY_PATH", &library_path);
    };
    let seen = place.observe_with(&["./program"], with);
    if !seen.status.success() {
        return false;
    }
    let tried = tried(&seen.stderr);
    let case = format!("LD_LIBRARY_PATH={library_path:?} LD_PRELOAD={preload:?}\n{}", seen.stderr);
    let what = seen.whole();
    let absent: BTreeSet<PathBuf> =
        what.absences.iter().map(|absence| place.path("").join(&absence.path)).collect();
    let read: BTreeSet<PathBuf> =
        what.inputs.iter().map(|input| place.path("").join(&input.path)).collect();
    let existing: BTreeSet<PathBuf> =
        what.existing.iter().map(|path| place.path("").join(path)).collect();
    for path in tried.iter().filter(|path| !path.starts_with("/proc")) {
        let path = place.path("").join(path);
        let is_known = match fs::metadata(&path) {
            Ok(_) => {
                read.iter().any(|it| fs::canonicalize(it).ok() == fs::canonicalize(&path).ok())
            }
            Err(_) => {
                path.ancestors().any(|above| absent.contains(above) || existing.contains(above))
            }
        };
        assert!(is_known, "the loader tried {} and nobody knew\n{case}", path.display());
    }
    // Nor does the model make things up: what it says of libraries here was tried, or lies where nothing is.
    let is_library = |path: &&PathBuf| {
        path.starts_with(place.path(""))
            && path.file_name().is_some_and(|name| LIBRARIES.iter().any(|it| name == *it))
    };
    let real: BTreeSet<PathBuf> =
        tried.iter().map(|path| plain(&place.path("").join(path))).collect();
    for path in absent.iter().filter(is_library) {
        let is_there = path.parent().is_some_and(Path::is_dir);
        // Of what a program loads later, and of names with a slash, the loader gives no such account.
        let by_dlopen = case.contains("libnone.so") || case.contains("dlopen");
        let by_dlopen = by_dlopen || path.ends_with("d0/libp.so.1") && preload.contains('/');
        assert!(
            !is_there || by_dlopen || real.contains(&plain(path)),
            "{} was not tried\n{case}",
            path.display()
        );
    }
    true
}

fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

#[test]
fn the_loaders_own_account() {
    let rounds = if std::env::var_os("IBID_TEST_LONG").is_some() { 60 } else { 8 };
    let (mut ran, mut failed) = (0, 0);
    for seed in 1..=rounds {
        let mut numbers = Numbers(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15) | 1);
        let place = Place::new();
        build(&mut numbers, &place);
        for _ in 0..12 {
            *if check(&mut numbers, &place) { &mut ran } else { &mut failed } += 1;
        }
    }
    assert!(ran > failed / 4 && ran > 10, "{ran} ran, {failed} found no library");
}
