//! `ibid gc --root DIR`, `--gone` and `--unused-toolchains`: what is chosen goes, what is needed stays, and nothing else becomes
//! a miss.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::cache::Cache;
use crate::years::disk_bytes;

/// Bound to the directory in which it runs.
const BOUND: &str = "gcc -g -c a.c -o a.o";
/// Serves every directory.
const FREE: &str = "gcc -c a.c -o a.o";

/// A cache, and a directory with checkouts in it.
struct Place {
    cache: Cache,
    root: TempDir,
}

impl Place {
    fn new() -> Place {
        let root = tempfile::Builder::new().prefix("ibid-checkouts-").tempdir().unwrap();
        let place = Place { cache: Cache::new(), root };
        place.write("note", "");
        place
    }

    fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), content).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_dir_all(self.at(name)).unwrap();
    }

    /// Runs a command there; whether it was a hit.
    fn hits(&self, directory: &str, line: &str) -> bool {
        let counted = self.cache.count(|| {
            let mut command = self.cache.ibid(line.split(' '));
            let done = command.current_dir(self.at(directory)).output().unwrap();
            assert!(done.status.success(), "{directory}: {line}: {done:?}");
        });
        assert_eq!(counted.get("passed_through"), 0, "{line}");
        counted.get("misses") == 0
    }

    /// Compiles what nobody has compiled there, and again.
    fn compile(&self, directory: &str, line: &str) {
        let is_hit = self.hits(directory, line);
        assert!(!is_hit, "{directory}: {line}");
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(self.hits(directory, line), "{directory}: {line}");
    }

    /// How many results `gc` drops, which is what it said before.
    fn drops(&self, args: &[&str]) -> u64 {
        let said = |more: &[&str]| {
            let mut command = self.cache.ibid(["gc"].iter().chain(args).chain(more));
            let done = command.current_dir(self.at(".")).output().unwrap();
            assert!(done.status.success(), "{done:?}");
            assert!(done.stderr.is_empty(), "{done:?}");
            String::from_utf8(done.stdout).unwrap()
        };
        let line = |said: &str| {
            let line = said.lines().find(|line| line.starts_with("results dropped"));
            line.unwrap_or_else(|| panic!("{said}")).to_owned()
        };
        let (before, dry) = (disk_bytes(&self.cache.dir()), said(&["--dry-run"]));
        assert!(dry.starts_with("nothing is removed"), "{dry}");
        assert_eq!(disk_bytes(&self.cache.dir()), before);
        let done = said(&[]);
        assert_eq!(line(&dry), line(&done));
        assert!(done.contains("segments removed       0"), "{done}");
        let verified = self.cache.say(&["verify"]);
        assert!(verified.contains("nothing is damaged"), "{verified}");
        let count = line(&done).split_whitespace().nth(2).unwrap().parse().unwrap();
        let after = disk_bytes(&self.cache.dir());
        assert!(if count > 0 { after < before } else { after <= before }, "{after} of {before}");
        count
    }
}

/// A source whose object has some pages.
fn source(name: &str) -> String {
    format!("char {name}[50000] = {{ 1 }};\n")
}

#[test]
fn what_was_made_in_a_directory() {
    let place = Place::new();
    for name in ["one", "two", "onetwo"] {
        place.write(&format!("{name}/a.c"), source(name));
        place.compile(name, BOUND);
    }
    place.write("build/note", "");
    place.compile("build", "gcc -g -c ../one/a.c -o one.o");
    place.compile("build", "gcc -g -c ../two/a.c -o two.o");
    assert_eq!(place.drops(&["--root", "nowhere"]), 0);
    symlink(place.at("one"), place.at("link")).unwrap();
    assert_eq!(place.drops(&["--root", "link"]), 2);
    assert_eq!(place.drops(&["--root", "./two/../one/"]), 0);
    assert!(place.hits("two", BOUND) && place.hits("onetwo", BOUND));
    assert!(place.hits("build", "gcc -g -c ../two/a.c -o two.o"));
    place.compile("one", BOUND);
    place.compile("build", "gcc -g -c ../one/a.c -o one.o");
    let all = place.at(".");
    assert_eq!(place.drops(&["--root", all.to_str().unwrap()]), 5);
    assert_eq!(place.cache.counters().get("blobs"), 0);
}

/// What another checkout has, too, stays for that.
#[test]
fn what_two_checkouts_share() {
    let place = Place::new();
    for name in ["one", "two"] {
        place.write(&format!("{name}/a.c"), source("a"));
    }
    place.compile("one", FREE);
    let _ = place.hits("two", FREE);
    assert!(place.hits("two", FREE));
    place.drops(&["--root", "one"]);
    assert!(place.hits("two", FREE));
}

/// A record is kept as long as it tells the delta of another checkout.
#[test]
fn what_tells_a_result_of_another_checkout() {
    let place = Place::new();
    for name in ["one", "two", "three"] {
        place.write(&format!("{name}/a.c"), source("a"));
    }
    std::thread::sleep(std::time::Duration::from_millis(20));
    place.compile("one", FREE);
    // The first elsewhere is compared, and stored whole.
    for name in ["two", "three"] {
        assert!(place.hits(name, FREE), "{name}");
    }
    let drops = |name: &str| place.drops(&["--root", place.at(name).to_str().unwrap()]);
    // One of the two tells the third.
    assert_eq!(drops("one") + drops("two"), 1);
    assert!(place.hits("three", FREE));
    // Its delta goes, and then what told it.
    assert_eq!(drops("three"), 0);
    assert_eq!(drops("one") + drops("two"), 1);
    assert!(place.cache.say(&["verify"]).contains("nothing is damaged"));
    place.compile("three", FREE);
}

#[test]
fn checkouts_that_are_no_more() {
    let place = Place::new();
    for name in ["one", "two", "sub/three"] {
        place.write(&format!("{name}/a.c"), format!("#include \"a.h\"\n{}", source("a")));
        place.write(&format!("{name}/a.h"), format!("/* {name} */\n"));
        place.write(&format!("{name}/.git/HEAD"), "");
        place.write(&format!("{name}/build/note"), "");
        place.compile(name, BOUND);
        place.compile(&format!("{name}/build"), "gcc -g -c ../a.c -o a.o");
    }
    assert_eq!(place.drops(&["--gone"]), 0);
    place.remove("one");
    place.remove("sub");
    assert_eq!(place.drops(&["--gone"]), 4);
    assert!(place.hits("two", BOUND));
    assert!(place.hits("two/build", "gcc -g -c ../a.c -o a.o"));
}

/// A result that serves every directory is of use without the one in which it was made.
#[test]
fn what_serves_other_directories_is_not_gone() {
    let place = Place::new();
    place.write("one/a.c", source("a"));
    place.write("two/a.c", source("a"));
    place.compile("one", FREE);
    place.remove("one");
    assert_eq!(place.drops(&["--gone"]), 0);
    let _ = place.hits("two", FREE);
    assert!(place.hits("two", FREE));
}

/// A directory that a build has made, and that is removed, belongs to a checkout that is there.
#[test]
fn a_missing_build_directory_is_no_missing_checkout() {
    let made = "gcc -g -c made.c -o made.o";
    for (name, marks, directory, lines) in [
        ("a repository", &[".git/HEAD"][..], "tree/build", &[made][..]),
        ("deep in a repository", &[".git/HEAD"], "tree/out/x/build", &[made]),
        ("a Makefile", &["Makefile"], "tree/build", &[made]),
        ("a Makefile above", &["Makefile", "sub/note"], "tree/sub/build", &[made]),
        ("a source beside it", &["main.c"], "tree/build", &[made]),
        ("a source above", &["src/a.c"], "tree/build", &[made, "gcc -g -c ../src/a.c -o a.o"]),
        (
            "a header above",
            &["inc/a.h"],
            "tree/build",
            &["gcc -g -I../inc -include a.h -c made.c -o made.o"],
        ),
        ("sources elsewhere", &["src/a.c"], "build", &[made, "gcc -g -c ../tree/src/a.c -o a.o"]),
        (
            "a trial of CMake's",
            &["CMakeLists.txt", "build/CMakeCache.txt", "build/scratch/note"],
            "tree/build/scratch/try",
            &[made],
        ),
    ] {
        let place = Place::new();
        let fill = || {
            for mark in marks {
                place.write(&format!("tree/{mark}"), source("mark"));
            }
            place.write(&format!("{directory}/made.c"), source("made"));
        };
        fill();
        for line in lines {
            place.compile(directory, line);
        }
        place.remove(directory);
        assert_eq!(place.drops(&["--gone"]), 0, "{name}");
        fill();
        for line in lines {
            assert!(place.hits(directory, line), "{name}: {line}");
        }
        // The checkout goes, too.
        place.remove(directory.split('/').next().unwrap());
        let _ = fs::remove_dir_all(place.at("tree"));
        assert_eq!(place.drops(&["--gone"]), lines.len() as u64, "{name}");
    }
}

/// Where nothing is beside it, a disk may only not be mounted.
#[test]
fn a_disk_that_is_not_mounted() {
    let place = Place::new();
    place.write("disk/one/a.c", source("a"));
    place.compile("disk/one", BOUND);
    place.remove("disk/one");
    assert_eq!(place.drops(&["--gone"]), 0);
    place.write("disk/lost+found", "");
    assert_eq!(place.drops(&["--gone"]), 1);
}

/// A copy of gcc, which is told where its parts are.
fn toolchain(place: &Place, name: &str, more: &str) {
    place.write(&format!("{name}/note"), "");
    let line = "cp -L \"$(command -v gcc)\" \"$1/gcc\" && printf '%s' \"$2\" >>\"$1/gcc\"";
    let mut command = Command::new("sh");
    command.args(["-c", line, "sh"]).arg(place.at(name)).arg(more);
    assert!(command.status().unwrap().success());
}

fn line_of(gcc: &str) -> String {
    let asked = Command::new("gcc").arg("-print-prog-name=cc1").output().unwrap();
    let cc1 = PathBuf::from(String::from_utf8(asked.stdout).unwrap().trim());
    format!("{gcc} -B {}/ -c a.c -o a.o", cc1.parent().unwrap().display())
}

#[test]
fn toolchains_that_are_not_used() {
    let place = Place::new();
    place.write("tree/a.c", source("a"));
    let of = |name: &str| line_of(place.at(name).join("gcc").to_str().unwrap());
    for name in [".toolchains/one/bin", ".toolchains/two/bin", ".toolchains/three/bin"] {
        toolchain(&place, name, name);
        place.compile("tree", &of(name));
    }
    place.compile("tree", FREE);
    assert_eq!(place.drops(&["--unused-toolchains"]), 0);
    place.remove(".toolchains/one");
    // Another one is there by that name.
    toolchain(&place, ".toolchains/two/bin", "changed");
    assert_eq!(place.drops(&["--unused-toolchains"]), 2);
    assert!(place.hits("tree", FREE) && place.hits("tree", &of(".toolchains/three/bin")));
    assert!(!place.hits("tree", &of(".toolchains/two/bin")));
}

/// A link that now leads to another toolchain, and a compiler that a project has built.
#[test]
fn toolchains_that_may_be_used_again() {
    let place = Place::new();
    place.write("tree/a.c", source("a"));
    let of = |name: &str| line_of(place.at(name).join("gcc").to_str().unwrap());
    for name in [".toolchains/one", ".toolchains/two", "tree/tools"] {
        toolchain(&place, name, name);
    }
    let link = place.at(".toolchains/now");
    symlink(place.at(".toolchains/one"), &link).unwrap();
    place.compile("tree", &of(".toolchains/now"));
    place.compile("tree", &of("tree/tools"));
    fs::remove_file(&link).unwrap();
    symlink(place.at(".toolchains/two"), &link).unwrap();
    place.remove("tree/tools");
    assert_eq!(place.drops(&["--unused-toolchains"]), 0);
    fs::remove_file(&link).unwrap();
    symlink(place.at(".toolchains/one"), &link).unwrap();
    assert!(place.hits("tree", &of(".toolchains/now")));
}
