//! Files that change at random: the probe agrees by content only where the look-up that reads them does.

use std::ffi::{CString, OsString};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::evidence::FileIdentities;
use super::*;
use crate::builder::path_walker::c_path;
use crate::compilers::{Decision, decide};
use crate::config;
use crate::probe::command::Call;
use crate::probe::content::Contents;
use crate::probe::judge::Difference;
use crate::random::Random;
use crate::record::{self, Cold};
use crate::shm::access::Access;
use crate::shm::digests::DigestTable;
use crate::shm::raw::{self, FileState};
use crate::shm::start::start_from;
use crate::shm::stat::Stamp;
use crate::shm::words::Word;
use crate::store::MAX_BYTES_DEFAULT;
use crate::store::digest::digest_link;
use crate::store::draft::DraftInput;
use crate::store::path_set::PathSet;
use crate::wrapper::request::Request;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// Of different lengths, so that stamps tell them apart on every file system.
const TEXTS: [&str; 2] = ["int one;\n", "int three;\n"];
/// All rounds share it: it only finds candidates.
const CONTENT_KEY: [u8; 16] = [7; 16];

/// A cache, files, and a command that was made from them.
struct Scene {
    directory: tempfile::TempDir,
    store: Store,
    request: Request,
    arena: Vec<u8>,
}

impl Scene {
    /// The command of a round: another one each time.
    fn request(round: usize) -> Request {
        let words = ["ibid", "gcc", "-c", &round.to_string()].map(OsString::from);
        let start = start_from(words, [("HOME".into(), "/".into())]);
        let call = Call::read(&start).expect("a tool is named");
        Request::new(start, call, &config::load()).expect("a working directory")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn spelled(&self, name: &str) -> CString {
        c_path(&self.at(name)).expect("no NUL")
    }

    /// A new file, or a new name for another one, in place of what is there.
    fn put(&self, name: &str, random: &mut Random) {
        let (there, other) = (self.at(name), self.at(NAMES[random.below(NAMES.len())]));
        let _ = fs::remove_file(&there);
        match random.below(8) {
            0 => drop(symlink(other, there)),
            1 | 2 if fs::hard_link(&other, &there).is_ok() => {}
            _ => fs::write(there, TEXTS[random.below(TEXTS.len())]).expect("written"),
        }
    }

    fn change(&self, name: &str, random: &mut Random) {
        let (there, other) = (self.at(name), self.at(NAMES[random.below(NAMES.len())]));
        let aside = self.at("aside");
        match random.below(6) {
            0 => self.put(name, random),
            1 => drop(fs::remove_file(there)),
            2 => drop(fs::set_permissions(there, fs::Permissions::from_mode(0o600))),
            3 if fs::rename(&there, &aside).is_ok() => {
                let _ = fs::rename(&other, &there);
                let _ = fs::rename(aside, other);
            }
            _ => {
                let text = fs::read(&there).unwrap_or_default();
                let _ = fs::remove_file(&there);
                fs::write(there, text).expect("written");
            }
        }
    }

    /// What was made from all that is there; a kind for each file.
    fn draft(&self, random: &mut Random) -> Draft {
        let mut same = FileIdentities::default();
        let mut draft = Draft {
            command: self.request.command.bytes().to_vec(),
            direct_key: self.request.command.direct_key(),
            flags: if random.once_in(8) { record::STAMPS_ONLY } else { 0 },
            ..Draft::default()
        };
        let mut push = |path: CString, kind, state: FileState, digest| {
            let group = same.group_of((state.stat.dev, state.stat.ino));
            let stamp = state.stat.stamp();
            draft.inputs.push(DraftInput {
                path,
                kind,
                mode: state.mode,
                stamp,
                digest,
                group,
                times: 0,
            });
        };
        for (at, name) in NAMES.into_iter().enumerate() {
            let path = self.spelled(name);
            let (Ok(itself), Ok(state)) = (raw::lstat(&path), raw::stat(&path)) else { continue };
            if itself.is_symlink() {
                push(path.clone(), record::LINK, itself, digest_link(&path).expect("a link"));
            }
            // The last one is not always read.
            let kind = match random.below(4) {
                0 if at == 3 && !itself.is_symlink() => record::EXISTS,
                1 if at == 3 => record::METADATA,
                _ => record::REMADE,
            };
            let digest = *blake3::hash(&fs::read(self.at(name)).expect("a file")).as_bytes();
            push(path, kind, state, digest);
        }
        let (set, contents) = PathSet::of(&draft, |variable| variable.value);
        draft.result_key = set.result_key(&CONTENT_KEY, self.request.command.place(), &contents);
        self.store.put_path_set(&CONTENT_KEY, &set, &[0; 16]).expect("stored");
        draft
    }

    /// Most files are read by somebody.
    fn note_digests(&self, random: &mut Random) {
        for name in NAMES {
            let path = self.spelled(name);
            let state = raw::stat(&path).ok().filter(FileState::is_regular);
            if let Some(state) = state.filter(|_| !random.once_in(8)) {
                self.store.digest_file(&path, &state, true).expect("it can be read");
            }
        }
    }

    /// What the probe says, and whether the look-up that reads files agrees with the record.
    fn judge(&mut self) -> (Result<By, ()>, bool) {
        let Scene { store, request, arena, .. } = self;
        let Request { command, environment, .. } = &*request;
        let probed =
            probe::first_difference(&store.cache, command, environment, arena, |verdict| {
                verdict.map(|(by, _)| by).map_err(drop::<Difference>)
            });
        let (places, content_key) = (&Places::default(), CONTENT_KEY);
        let args = ["-c".into(), "a.c".into()];
        let Decision::Cache(policy) = decide("gcc".as_ref(), &args, false, || None) else {
            panic!("gcc can be cached")
        };
        let (policy, is_repeatable) = (&policy, true);
        let wanted = Wanted {
            command,
            environment,
            policy,
            places,
            project: None,
            content_key,
            is_repeatable,
        };
        let is_true = is_true(store, &wanted, arena).is_some();
        (probed.expect("the record is there"), is_true)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // The volatile segment lies outside the directory.
        let name = self.store.cache.index.header().volatile;
        let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
        let _ = fs::remove_file(Path::new("/dev/shm").join(name));
    }
}

#[test]
fn the_probe_agrees_by_content_only_where_the_other_look_up_does() {
    let directory = tempfile::tempdir().expect("a directory");
    let store =
        Store::open(&directory.path().join("cache"), MAX_BYTES_DEFAULT).expect("the store opens");
    let mut scene = Scene { directory, store, request: Scene::request(0), arena: vec![0; 1 << 20] };
    let seed = Random::seed();
    let random = &mut Random::new(seed);
    let (mut agreed, mut refused) = (0, 0);
    for round in 1..2000 {
        scene.request = Scene::request(round);
        for name in NAMES {
            scene.put(name, random);
        }
        let draft = scene.draft(random);
        scene.store.put_record(&draft).expect("stored");
        for _ in 0..random.below(4) {
            let name = NAMES[random.below(NAMES.len())];
            scene.change(name, random);
        }
        scene.note_digests(random);
        match scene.judge() {
            (Ok(By::Content), is_true) => {
                assert!(is_true, "seed {seed}, round {round}: {:?}", draft.inputs);
                agreed += 1;
            }
            (Err(()), _) => refused += 1,
            (Ok(By::Stamps), _) => {}
        }
    }
    assert!(agreed > 100 && refused > 100, "seed {seed}: {agreed} agreed, {refused} refused");
}

/// A record of one file that has another stamp.
#[test]
fn what_is_not_known_in_full_is_a_difference() {
    let directory = tempfile::tempdir().expect("a directory");
    let there = directory.path().join("a");
    fs::write(&there, TEXTS[0]).expect("written");
    let path = c_path(&there).expect("no NUL");
    let Request { command, environment, .. } = Scene::request(0);
    let digest = *blake3::hash(TEXTS[0].as_bytes()).as_bytes();
    let (kind, stamp) = (record::REMADE, Stamp([7; 16]));
    let input =
        DraftInput { path: path.clone(), kind, mode: 0o100_644, stamp, digest, group: 0, times: 0 };
    let command_bytes = command.bytes().to_vec();
    let draft = Draft { command: command_bytes, inputs: vec![input], ..Draft::default() };
    let encoded = draft.encode();
    let record = Record::read(&encoded.hot).expect("a head");
    let words: Vec<Word> = (0..512).map(|_| Word::new(0)).collect();
    let digests = DigestTable::new(&words);
    let agrees = |access, cold: &[u8], room_bytes: usize| {
        let mut room = vec![0; room_bytes];
        let mut contents = Contents::new(digests, access, || Some((Cold(cold), &mut room[..])));
        crate::probe::judge::judge(&record, &command, &environment, &mut contents)
            == Ok(By::Content)
    };
    let become_known = |mode| {
        fs::set_permissions(&there, fs::Permissions::from_mode(mode)).expect("ours");
        let state = raw::stat(&path).expect("it is there");
        digests.enter(&state.stat.stamp(), &digest);
        Access::Group(state.gid.wrapping_add(1))
    };
    let cold = &encoded.cold;
    assert!(!agrees(Access::Own, cold, 64), "nobody has read it");
    let others = become_known(0o644);
    assert!(agrees(Access::Own, cold, 64) && agrees(others, cold, 64));
    assert!(!agrees(Access::Own, cold, 8), "there is no room to note it");
    for len in 0..cold.len() {
        assert!(!agrees(Access::Own, &cold[..len], 64), "{len} bytes of the cold part");
    }
    become_known(0o600);
    assert!(agrees(Access::Own, cold, 64) && !agrees(others, cold, 64), "others cannot read it");
}
