//! Signed results: whose are taken, whose are not, and that no secret is shown anywhere.
//!
//! Read next: `remote.rs`, `remote_faults.rs`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cache::Outcome;
use crate::engines::{self, Machine, have_helpers};
use crate::project::Project;

const LINE: &str = "gcc -c a.c -o a.o";
/// Where the signature stands in a value: behind magic, kind, length and digest.
const SEAL: std::ops::Range<usize> = 56..152;

fn project() -> Project {
    Project::with(&[("a.c", "int a(void) { return 1; }\n"), ("b.c", "int b;\n")])
}

/// The text of a machine's secret key, and its file.
fn secret(machine: &Machine) -> (String, PathBuf) {
    let path = machine.root().join("home/.config/ibid/remote.key");
    (fs::read_to_string(&path).unwrap().trim_end().to_owned(), path)
}

/// A machine that signs, and its public key.
fn signing(remote: &str) -> (Machine, String) {
    let machine = Machine::new(remote);
    let key = machine.say(&["remote", "key", "new", "ci"]).trim_end().to_owned();
    assert!(key.starts_with("ci:"), "{key}");
    assert_eq!(machine.say(&["remote", "key", "show"]).trim_end(), key);
    (machine, key)
}

/// A machine that only reads, and only what this key has signed.
fn trusting(remote: &str, key: &str) -> Machine {
    let machine = Machine::new(&format!("{remote} read-only"));
    assert_eq!(machine.say(&["remote", "key", "trust", key]), "");
    machine
}

#[track_caller]
fn makes(machine: &Machine, project: &Project) {
    project.call(machine, LINE).check().expect(&Outcome::Miss);
    machine.flush();
}

/// The files of a storage: that of the path sets, that of the result.
fn values(directory: &Path) -> [PathBuf; 2] {
    let mut found = Vec::new();
    for below in fs::read_dir(directory).unwrap().flatten() {
        found.extend(fs::read_dir(below.path()).unwrap().flatten().map(|entry| entry.path()));
    }
    found.sort_by_key(|path| fs::read(path).unwrap()[8]);
    found.try_into().unwrap()
}

/// A miss as any other, which is counted as one that was refused.
#[track_caller]
fn refuses(machine: &Machine, project: &Project, what: &str) {
    let seen = project.call(machine, LINE).check();
    assert_eq!(seen.outcome, Outcome::Miss, "{what}");
    assert!(machine.status("not trusted").contains("not trusted      1:"), "{what}");
    let doctor = machine.ibid(["doctor", "--quick", "-v"]).output().unwrap();
    let text = String::from_utf8(doctor.stdout).unwrap();
    assert!(text.contains("1 answers were signed by no trusted key"), "{what}: {text}");
    assert_eq!(doctor.status.code(), Some(0), "{what}: {text}");
}

#[test]
fn results_of_a_trusted_key_are_taken() {
    let Some((_directory, remote)) = engines::directory() else { return };
    let project = project();
    let remote = format!("{remote} namespace=n");
    let (first, key) = signing(&remote);
    makes(&first, &project);
    for machine in [trusting(&remote, &key), Machine::new(&remote)] {
        project.call(&machine, LINE).check().expect(&Outcome::PortableHit);
        assert_eq!(machine.counters().get("remote_hits"), 1);
    }
    let several = Machine::new(&remote);
    let (_other, others) = signing(&remote);
    several.say(&["remote", "key", "trust", &others, &key]);
    project.call(&several, LINE).check().expect(&Outcome::PortableHit);
}

#[test]
fn what_no_trusted_key_has_signed_is_a_miss() {
    let Some((directory, remote)) = engines::directory() else { return };
    let project = project();
    let (first, key) = signing(&remote);
    makes(&first, &project);
    let [sets, result] = values(directory.path());
    let signed = [&sets, &result].map(|path| fs::read(path).unwrap());
    // Another key, and nobody.
    let (_other, others) = signing(&remote);
    refuses(&trusting(&remote, &others), &project, "another key");
    let nobody = Machine::new(&format!("{remote} read-only")).with("IBID_REMOTE_TRUST", "nobody");
    refuses(&nobody, &project, "nobody");
    // The same command by a machine that does not sign: under the same names, with another digest.
    let Some((other, unsigned)) = engines::directory() else { return };
    makes(&Machine::new(&unsigned), &project);
    let theirs = values(other.path()).map(|path| fs::read(path).unwrap());
    let names = |path: &Path| path.file_name().map(ToOwned::to_owned);
    assert_eq!(values(other.path()).map(|it| names(&it)), [&sets, &result].map(|it| names(it)));
    assert_eq!(theirs[1][SEAL], [0; 96]);
    let grafted = [&theirs[1][..56], &signed[1][SEAL], &theirs[1][152..]].concat();
    let mut forged = signed[1].clone();
    forged[SEAL.start + 40] ^= 1;
    let mut of_another = signed[1].clone();
    of_another[SEAL.start] ^= 1;
    for (what, [new_sets, new_result]) in [
        ("unsigned path sets and result", [&theirs[0], &theirs[1]]),
        ("unsigned path sets", [&theirs[0], &signed[1]]),
        ("an unsigned result", [&signed[0], &theirs[1]]),
        ("the signature of another content", [&signed[0], &grafted]),
        ("a changed signature", [&signed[0], &forged]),
        ("a changed signer", [&signed[0], &of_another]),
    ] {
        fs::write(&sets, new_sets).unwrap();
        fs::write(&result, new_result).unwrap();
        refuses(&trusting(&remote, &key), &project, what);
    }
    // What is cut is damage, with and without trust.
    fs::write(&sets, &signed[0]).unwrap();
    for len in [0, 40, 100, 151, signed[1].len() - 1] {
        fs::write(&result, &signed[1][..len]).unwrap();
        let machine = trusting(&remote, &key);
        project.call(&machine, LINE).check().expect(&Outcome::Miss);
    }
    fs::write(&result, &signed[1]).unwrap();
    project.call(&trusting(&remote, &key), LINE).check().expect(&Outcome::PortableHit);
}

/// What was signed for one namespace, or as the result of one command, is of no use in another place.
#[test]
fn signed_values_that_were_moved() {
    let Some((directory, remote)) = engines::directory() else { return };
    let Some((other, elsewhere)) = engines::directory() else { return };
    let project = project();
    let (first, key) = signing(&format!("{remote} namespace=release"));
    makes(&first, &project);
    let there = format!("{elsewhere} namespace=pull-requests");
    makes(&Machine::new(&there), &project);
    let [from, to] = [&directory, &other].map(|it| values(it.path()));
    for (from, to) in from.iter().zip(&to) {
        fs::copy(from, to).unwrap();
    }
    // Nothing else keeps them apart.
    let anybodys = Machine::new(&format!("{there} read-only"));
    project.call(&anybodys, LINE).check().expect(&Outcome::PortableHit);
    refuses(&trusting(&there, &key), &project, "another namespace");
}

/// What somebody else has put there first does not keep signed results from those who need them.
#[test]
fn unsigned_results_are_replaced_by_who_signs() {
    let Some((directory, remote)) = engines::directory() else { return };
    let project = project();
    makes(&Machine::new(&remote), &project);
    let (second, key) = signing(&remote);
    // It makes the result itself.
    second.say(&["remote", "key", "trust", &key]);
    refuses(&second, &project, "unsigned");
    second.flush();
    project.call(&trusting(&remote, &key), LINE).check().expect(&Outcome::PortableHit);
    // Who does not sign replaces nothing.
    let before = values(directory.path()).map(|path| fs::read(path).unwrap());
    let another = Machine::new(&remote).with("IBID_REMOTE_TRUST", "nobody");
    makes(&another, &project);
    assert_eq!(values(directory.path()).map(|path| fs::read(path).unwrap()), before);
}

#[test]
fn keys_that_others_can_use() {
    let Some((directory, remote)) = engines::directory() else { return };
    let project = project();
    let (machine, key) = signing(&remote);
    let (_, path) = secret(&machine);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    project.call(&machine, LINE).check().expect(&Outcome::Miss);
    let flush = machine.ibid(["remote", "flush"]).output().unwrap();
    let said = String::from_utf8(flush.stderr).unwrap();
    assert!(flush.status.code() == Some(1) && said.contains("chmod 600"), "{said}");
    let status = machine.ibid(["remote", "status"]).output().unwrap();
    assert_eq!(status.status.code(), Some(1));
    let doctor = machine.ibid(["doctor", "--quick"]).output().unwrap();
    for text in [&status.stdout, &doctor.stdout] {
        let text = String::from_utf8_lossy(text);
        assert!(text.contains("chmod 600") && text.contains("nothing is sent"), "{text}");
    }
    assert_eq!(machine.status("waiting to be sent"), "waiting to be sent 1");
    assert!(fs::read_dir(directory.path()).unwrap().next().is_none());
    // A key that is named has to be there.
    let named = Machine::new(&remote)
        .with("IBID_REMOTE_KEY", path.with_extension("gone").to_str().unwrap());
    project.call(&named, LINE).check().expect(&Outcome::Miss);
    assert_eq!(named.ibid(["remote", "flush"]).status().unwrap().code(), Some(1));
    assert!(fs::read_dir(directory.path()).unwrap().next().is_none());
    // Nothing was lost.
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    machine.flush();
    project.call(&trusting(&remote, &key), LINE).check().expect(&Outcome::PortableHit);
}

/// A setting that was meant to need keys never means anybody.
#[test]
fn a_setting_that_is_wrong_trusts_nobody() {
    let Some((_directory, remote)) = engines::directory() else { return };
    let project = project();
    let (first, key) = signing(&remote);
    makes(&first, &project);
    let (secret, _) = secret(&first);
    let files = tempfile::tempdir().unwrap();
    let config = files.path().join("config.toml");
    let in_file = |text: String| {
        fs::write(&config, text).unwrap();
        Machine::new(&remote).with("IBID_CONFIG", config.to_str().unwrap())
    };
    let in_environment = |value: &str| Machine::new(&remote).with("IBID_REMOTE_TRUST", value);
    project.call(&in_file(String::new()), LINE).check().expect(&Outcome::PortableHit);
    let right = in_file(format!("remote_trust = \"{key}\"\n"));
    project.call(&right, LINE).check().expect(&Outcome::PortableHit);
    for wrong in [
        &(|| in_environment("ci")) as &dyn Fn() -> Machine,
        &|| in_environment(&format!("{key} ci:AAAA")),
        &|| in_environment(&secret),
        &|| in_file(format!("remote_trust = [\"{key}\"]\n")),
        &|| in_file(format!("remote_trust = \"{}\"\n", &key[..key.len() - 2])),
        &|| in_file(format!("remote_trust = \"{key}\n")),
    ] {
        let machine = wrong();
        project.call(&machine, LINE).check().expect(&Outcome::Miss);
        let listed = machine.ibid(["config", "list"]).output().unwrap();
        assert!(!listed.stderr.is_empty(), "{listed:?}");
        let said = String::from_utf8([listed.stdout, listed.stderr].concat()).unwrap();
        assert!(!said.contains(&secret[20..]), "{said}");
    }
}

#[test]
fn keys_are_made_trusted_and_distrusted() {
    if !have_helpers() {
        return;
    }
    let (machine, key) = signing("file:///tmp");
    let ends = |args: &[&str], status: i32, says: &str| {
        let done = machine.ibid(["remote", "key"].iter().chain(args)).output().unwrap();
        let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        assert!(done.status.code() == Some(status) && said.contains(says), "{args:?}: {said}");
        assert!(said.lines().count() <= 3, "{args:?}: {said}");
        said
    };
    let (secret, path) = secret(&machine);
    ends(&["new"], 1, "is there already");
    assert_eq!(fs::read_to_string(&path).unwrap().trim_end(), secret);
    ends(&[], 0, "trusts       anybody");
    for wrong in ["ci", "ci:AAAA", &secret, &format!("x y:{}", &key[3..])] {
        let said = ends(&["trust", wrong], 2, "");
        assert!(!said.contains(&secret[20..]), "{said}");
    }
    ends(&["new", "a name"], 2, "a name has");
    ends(&["trust", &key], 0, "");
    ends(&["trust", &key], 0, "");
    assert_eq!(machine.say(&["config", "get", "remote_trust"]).trim_end(), key);
    ends(&["distrust", "other"], 1, "no trusted key");
    ends(&["distrust", "ci"], 0, "nothing is fetched");
    assert_eq!(machine.say(&["config", "get", "remote_trust"]).trim_end(), "nobody");
    ends(&["list"], 0, "trusts       nobody");
    let set = Machine::new("file:///tmp").with("IBID_REMOTE_TRUST", &key);
    let done = set.ibid(["remote", "key", "trust", &key]).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
}

/// Of a secret nothing is in what any command says, in the log, in the cache, or in what a compiler is given.
#[test]
fn no_secret_is_shown() {
    let Some((directory, remote)) = engines::directory() else { return };
    let project = project();
    let (machine, _) = signing(&remote);
    let log = machine.root().join("log");
    let machine = machine.with("IBID_LOG", log.to_str().unwrap());
    makes(&machine, &project);
    let (secret, path) = secret(&machine);
    let secret = secret.rsplit(':').next().unwrap().to_owned();
    for args in [
        &["config", "list"][..],
        &["remote", "status"],
        &["remote", "key"],
        &["remote", "key", "show"],
        &["doctor", "--quick", "-v"],
        &["stats"],
        &["explain", "gcc", "-c", "a.c", "-o", "a.o"],
    ] {
        let done = machine.ibid(args).current_dir(project.path()).output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        assert!(!String::from_utf8_lossy(&said).contains(&secret), "{args:?}");
    }
    let mut to_do = vec![machine.root().to_path_buf(), directory.path().to_path_buf()];
    let mut files = 0;
    while let Some(directory) = to_do.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                to_do.push(entry.path());
            } else if kind.is_file() && entry.path() != path {
                files += 1;
                let bytes = fs::read(entry.path()).unwrap();
                let found = memchr::memmem::find(&bytes, secret.as_bytes());
                assert_eq!(found, None, "{}", entry.path().display());
            }
        }
    }
    assert!(files > 5, "{files} files");
    // Somebody gives the key itself.
    let given =
        Machine::new(&remote).with("IBID_REMOTE_KEY", &format!("ibid-secret-key:ci:{secret}"));
    project.call(&given, LINE).check();
    for args in [&["config", "list"][..], &["remote", "status"], &["doctor", "--quick", "-v"]] {
        let done = given.ibid(args).output().unwrap();
        assert!(!String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).contains(&secret));
    }
}
