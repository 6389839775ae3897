//! A cache that a group shares: two users fill and empty it, and get what their own compiler would give them; a third
//! one, who is not in the group, is not touched by it.
//!
//! Users are numbers that nobody has: the tests need root for that.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::cache::{Counters, Outcome};
use crate::tools;

const GROUP: u32 = 64_100;

/// Somebody: user, group, and further groups.
#[derive(Clone, Copy)]
struct User {
    id: u32,
    group: u32,
    further: &'static str,
}

/// A member by his own group.
const ANN: User = User { id: 64_001, group: GROUP, further: "" };
/// A member by a further group.
const BOB: User = User { id: 64_002, group: 64_002, further: "64100" };
/// No member.
const EVE: User = User { id: 64_003, group: 64_003, further: "" };

/// A place in which all of them work, with a cache for the group in it.
struct Place {
    root: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Place {
    /// `None`, and said so, where this test cannot be.
    fn new() -> Option<Place> {
        if !tools::is_root() {
            tools::skip("needs root");
            return None;
        }
        if !["setpriv", "gcc"].into_iter().all(tools::have) {
            return None;
        }
        let root = tempfile::Builder::new().prefix("ibid-group-").tempdir().unwrap();
        let place = Place { root, settings: Vec::new() };
        for (name, mode) in [(".", 0o755), ("src", 0o777), ("cache", 0o2770)] {
            fs::create_dir_all(place.at(name)).unwrap();
            if name == "cache" {
                chown(place.at(name), Some(0), Some(GROUP)).unwrap();
            }
            fs::set_permissions(place.at(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        for user in [ANN, BOB, EVE] {
            let home = place.at(&user.id.to_string());
            fs::create_dir(&home).unwrap();
            fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
            chown(&home, Some(user.id), Some(user.group)).unwrap();
        }
        // Not where it was built: others may have no way to there.
        let copied = Command::new("cp").arg(tools::ibid()).arg(place.at("ibid")).status().unwrap();
        assert!(copied.success());
        place.write("a.c", "int a = 1;\n", 0o644);
        std::thread::sleep(std::time::Duration::from_millis(60));
        Some(place)
    }

    fn with(mut self, name: &'static str, value: &str) -> Place {
        self.settings.push((name, value.to_owned()));
        self
    }

    /// With all that README says of a shared cache.
    fn shared() -> Option<Place> {
        let place = Place::new()?;
        let config = place.at("config.toml").display().to_string();
        Some(place.with("IBID_SHARE", "group").with("IBID_CONFIG", &config))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn source(&self, name: &str) -> PathBuf {
        self.at("src").join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.source(name), text).unwrap();
        fs::set_permissions(self.source(name), fs::Permissions::from_mode(mode)).unwrap();
        chown(self.source(name), Some(ANN.id), Some(ANN.group)).unwrap();
    }

    /// What a user runs with a shell, in the sources' directory; `ibid` is a function there.
    fn shell(&self, user: User, line: &str) -> Output {
        let groups = if user.further.is_empty() {
            "--clear-groups".to_owned()
        } else {
            format!("--groups={}", user.further)
        };
        let line = format!("ibid() {{ '{}' \"$@\"; }}\n{line}", self.at("ibid").display());
        Command::new("setpriv")
            .args([format!("--reuid={}", user.id), format!("--regid={}", user.group), groups])
            .args(["sh", "-c", &line])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.at(&user.id.to_string()))
            .env("XDG_RUNTIME_DIR", self.at(&user.id.to_string()))
            .env("IBID_DIR", self.at("cache"))
            .envs(self.settings.iter().cloned())
            .current_dir(self.at("src"))
            .output()
            .unwrap()
    }

    /// The same, which must succeed in silence on standard error; what it said.
    fn say(&self, user: User, line: &str) -> String {
        let done = self.shell(user, line);
        assert!(done.status.success() && done.stderr.is_empty(), "{line}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// Runs a line and says what it was counted as; `by` is who asks for the counters.
    fn outcome(&self, by: User, user: User, line: &str) -> Outcome {
        let counters = || Counters::from_json(&self.say(by, "ibid stats --json"));
        let before = counters();
        self.say(user, line);
        counters().since(&before).outcome()
    }

    /// Content and mode of a file that `user` owns.
    fn made(&self, user: User, name: &str) -> (Vec<u8>, u32) {
        let state = fs::metadata(self.source(name)).unwrap();
        assert_eq!((state.uid(), state.gid()), (user.id, user.group), "{name}");
        (fs::read(self.source(name)).unwrap(), state.mode())
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn one_member_fills_and_the_other_hits() {
    let Some(place) = Place::shared() else { return };
    for mask in ["022", "002", "077", "027"] {
        let compile = format!("umask {mask}; rm -f a.o; ibid gcc -c a.c -o a.o");
        assert_eq!(place.outcome(ANN, ANN, &compile), Outcome::Miss, "{mask}");
        assert_eq!(place.outcome(BOB, BOB, &compile), Outcome::InvocationHit, "{mask}");
        let hit = place.made(BOB, "a.o");
        place.say(BOB, &format!("umask {mask}; rm -f a.o; gcc -c a.c -o a.o"));
        assert_eq!(hit, place.made(BOB, "a.o"), "{mask}");
    }
    let files = files_below(&place.at("cache"));
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let state = fs::metadata(&file).unwrap();
        assert_eq!((state.mode() & 0o7777, state.gid()), (0o660, GROUP), "{}", file.display());
    }
    let doctor = place.say(BOB, "ibid doctor -v --quick");
    assert!(doctor.contains("shared by group 64100"), "{doctor}");
}

/// Both store, both evict what the other one has stored, and all is whole.
#[test]
fn both_evict() {
    let Some(place) = Place::shared() else { return };
    let place = place.with("IBID_MAX_SIZE", "130M");
    // What can be compressed would be.
    place.say(ANN, "head -c 15M /dev/urandom > big.bin && chmod 644 big.bin");
    place.write("big.c", "asm(\".incbin \\\"big.bin\\\"\"); int n = N;\n", 0o644);
    std::thread::sleep(std::time::Duration::from_millis(60));
    for number in 1..=12 {
        let (user, other) = if number % 2 == 0 { (ANN, BOB) } else { (BOB, ANN) };
        let compile = format!("rm -f big.o; ibid gcc -c big.c -DN={number} -o big.o");
        assert_eq!(place.outcome(user, user, &compile), Outcome::Miss, "{number}");
        assert_eq!(place.outcome(user, other, &compile), Outcome::InvocationHit, "{number}");
        place.say(
            other,
            &format!("gcc -c big.c -DN={number} -o bare.o && cmp big.o bare.o && rm bare.o"),
        );
    }
    let counters = Counters::from_json(&place.say(ANN, "ibid stats --json"));
    assert!(counters.get("evictions") >= 2, "{counters:?}");
    assert_eq!(counters.sum("internal_errors"), 0, "{counters:?}");
    for user in [ANN, BOB] {
        assert!(place.say(user, "ibid verify").contains("nothing is damaged"));
    }
    assert!(!place.say(BOB, "ibid gc --max-age 0s").contains("segments removed       0"));
    let compile = "rm -f a.o; ibid gcc -c a.c -o a.o";
    assert_eq!(place.outcome(ANN, ANN, compile), Outcome::Miss);
    place.say(BOB, "ibid clear");
    assert_eq!(place.outcome(BOB, ANN, compile), Outcome::Miss);
    assert_eq!(place.outcome(ANN, BOB, compile), Outcome::InvocationHit);
}

/// What one member could not have read, he does not get from the cache.
#[test]
fn what_not_all_may_read_is_not_stored() {
    let Some(place) = Place::shared() else { return };
    place.write("secret.h", "int secret = 1;\n", 0o600);
    place.write("b.c", "#include \"secret.h\"\n", 0o644);
    std::thread::sleep(std::time::Duration::from_millis(60));
    let compile = "rm -f b.o; ibid gcc -c b.c -o b.o";
    let refused = Outcome::NotStored("private_input".to_owned());
    assert_eq!(place.outcome(ANN, ANN, compile), refused);
    let done = place.shell(BOB, compile);
    assert!(!done.status.success() && !place.source("b.o").exists(), "{done:?}");
    place.write("secret.h", "int secret = 1;\n", 0o640);
    std::thread::sleep(std::time::Duration::from_millis(60));
    assert_eq!(place.outcome(ANN, ANN, compile), Outcome::Miss);
    assert_eq!(place.outcome(ANN, BOB, compile), Outcome::InvocationHit);
}

/// What one member has compiled in a cache of her own and imports serves all; what only she can read serves her alone.
#[test]
fn what_is_imported_into_it() {
    let Some(place) = Place::shared() else { return };
    place.write("secret.h", "int secret = 1;\n", 0o600);
    place.write("b.c", "#include \"secret.h\"\n", 0o644);
    std::thread::sleep(std::time::Duration::from_millis(60));
    let compile = |name: &str| format!("rm -f {name}.o; ibid gcc -c {name}.c -o {name}.o");
    let own = format!(
        "(export IBID_DIR=$HOME/own; mkdir -m 700 $IBID_DIR; {}; {};",
        compile("a"),
        compile("b")
    );
    let said =
        place.say(ANN, &format!("{own} ibid export $HOME/export); ibid import $HOME/export"));
    assert!(said.contains("imported 2 records and 2 blobs"), "{said}");
    for file in files_below(&place.at("cache")) {
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o660, "{}", file.display());
    }
    assert_eq!(place.outcome(BOB, BOB, &compile("a")), Outcome::PortableHit);
    assert_eq!(place.outcome(BOB, BOB, &compile("a")), Outcome::InvocationHit);
    for _ in 0..2 {
        let done = place.shell(BOB, &compile("b"));
        assert!(!done.status.success() && !place.source("b.o").exists(), "{done:?}");
        assert_eq!(place.outcome(ANN, ANN, &compile("b")), Outcome::PortableHit);
        fs::remove_file(place.source("b.o")).unwrap();
    }
    assert!(place.say(BOB, "ibid verify").contains("nothing is damaged"));
}

/// Without the setting, or without being a member, the cache is as if it were not there.
#[test]
fn for_others_it_is_not_there() {
    let Some(asked) = Place::shared() else { return };
    asked.say(ANN, "ibid gcc -c a.c -o a.o");
    let before = files_below(&asked.at("cache"));
    let cases = [
        (EVE, "", "set IBID_SHARE=group"),
        (ANN, "", "set IBID_SHARE=group"),
        (EVE, "IBID_SHARE=group", "a group that you are not in"),
    ];
    for (user, setting, advice) in cases {
        let set = format!("unset IBID_SHARE; export {setting} X=1;");
        asked.say(user, &format!("{set} rm -f a.o; ibid gcc -c a.c -o a.o"));
        let with = asked.made(user, "a.o");
        asked.say(user, "rm -f a.o; gcc -c a.c -o a.o");
        assert_eq!(with, asked.made(user, "a.o"));
        let doctor = asked.shell(user, &format!("{set} ibid doctor -v --quick"));
        let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
        let fails: Vec<_> = said.lines().filter(|line| line.starts_with("fail")).collect();
        assert_eq!(doctor.status.code(), Some(1), "{doctor:?}");
        assert!(fails.len() == 1 && fails[0].contains(advice), "{fails:?}");
    }
    assert_eq!(files_below(&asked.at("cache")), before);
}

/// A directory whose mode lets others than the group write, or whose group is another one, is refused.
#[test]
fn directories_that_are_not_to_be_shared() {
    let Some(place) = Place::shared() else { return };
    for (mode, group) in [(0o2777, GROUP), (0o3770, GROUP), (0o770, GROUP), (0o2770, EVE.group)] {
        chown(place.at("cache"), Some(ANN.id), Some(group)).unwrap();
        fs::set_permissions(place.at("cache"), fs::Permissions::from_mode(mode)).unwrap();
        place.say(ANN, "rm -f a.o; ibid gcc -c a.c -o a.o && test -s a.o");
        assert_eq!(place.shell(ANN, "ibid doctor").status.code(), Some(1), "{mode:o}");
        assert_eq!(files_below(&place.at("cache")), [] as [PathBuf; 0], "{mode:o}");
    }
}

/// With the setting in the settings file alone it works too; and a directory of one's own stays one's own.
#[test]
fn the_setting_in_the_file_and_a_directory_of_ones_own() {
    let Some(place) = Place::shared() else { return };
    fs::write(place.at("config.toml"), "share = \"group\"\n").unwrap();
    let compile = "unset IBID_SHARE; rm -f a.o; ibid gcc -c a.c -o a.o";
    let stats = "unset IBID_SHARE; ibid stats --json";
    place.say(ANN, compile);
    place.say(BOB, compile);
    let counters = Counters::from_json(&place.say(ANN, stats));
    assert_eq!((counters.hits(), counters.get("stored")), (1, 1), "{counters:?}");
    let doctor =
        place.say(ANN, "export IBID_DIR=$HOME/own; mkdir -m 700 $IBID_DIR; ibid doctor -v --quick");
    assert!(doctor.contains("only you may write it, though `share` is on"), "{doctor}");
    for file in files_below(&place.at("64001/own")) {
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600, "{}", file.display());
    }
}
