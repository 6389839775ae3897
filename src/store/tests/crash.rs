//! A process that dies at each point of insertion, rotation, eviction, creation, clearing, collection and growth in
//! turn, and at those of a large object; and what the next one finds.
#![allow(clippy::disallowed_methods, reason = "tests start processes")]

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Signal, getpid, kill_process};

use super::Scratch;
use super::gc::age;
use super::reference::{insert, insert_with_set, look, look_compressed, tell};
use super::years::hit;
use crate::shm::fault;
use crate::shm::layout::SEGMENT_BYTES;
use crate::store::append::fill;
use crate::store::compress::Until;
use crate::store::draft::Draft;
use crate::store::gc::{Wanted, collect};
use crate::store::verify::verify;
use crate::store::{Store, files};

const SCENE: &str = "IBID_TEST_SCENE";
const PLACE: &str = "IBID_TEST_DIRECTORY";
const LAST_POINT: &str = "IBID_TEST_LAST_POINT";

/// What a process does that may die at any point.
struct Scene {
    name: &'static str,
    max_bytes: u64,
    act: fn(&Actor),
}

const SCENES: [Scene; 5] = [
    // An index and two segments, which are as short as can be: the third one evicts.
    Scene { name: "storing", max_bytes: 3 << 20, act: store_evict_clear },
    Scene { name: "surviving", max_bytes: 3 << 20, act: evict_and_keep },
    Scene { name: "collecting", max_bytes: 4 * SEGMENT_BYTES, act: collect_and_grow },
    Scene { name: "compressing", max_bytes: 4 * SEGMENT_BYTES, act: compress_and_restore },
    // A bit more than eight segments, so that one object may be larger than a segment.
    Scene { name: "large", max_bytes: 9 * SEGMENT_BYTES, act: store_a_large_one },
];

/// The number by which the large object goes in the notes; the others are those of `reference.rs`.
const LARGE: u8 = 200;
const NUMBERS: std::ops::RangeInclusive<u8> = 1..=6;

/// The process that dies, and where it notes what it has done.
struct Actor {
    place: PathBuf,
    max_bytes: u64,
    last: usize,
}

impl Actor {
    fn open(&self) -> Store {
        Store::open(&self.place.join("cache"), self.max_bytes).expect("it opens")
    }

    fn note(&self, line: &str) {
        writeln!(notes(&self.place, "done"), "{line}").expect("written");
    }

    fn insert(&self, store: &Store, number: u8) {
        insert(store, number).expect("stored");
        self.note(&format!("stored {number}"));
    }

    fn may_lose(&self, numbers: impl IntoIterator<Item = u8>) {
        numbers.into_iter().for_each(|number| self.note(&format!("may lose {number}")));
    }

    fn collect(&self, store: &Store, max_bytes: u64, max_age: Option<std::time::Duration>) {
        let wanted = Wanted { max_bytes, max_age, dry_run: false };
        collect(&self.place.join("cache"), store, wanted, &mut |_, _| {}).expect("collected");
    }

    /// From now on it may die.
    fn begin(&self) {
        let (mut points, mut passed, last) = (notes(&self.place, "points"), 0, self.last);
        fault::watch(move |done| {
            passed += 1;
            writeln!(points, "{done}").expect("written");
            if passed == last {
                kill_process(getpid(), Signal::KILL).expect("killed");
            }
        });
    }
}

fn notes(place: &Path, name: &str) -> File {
    OpenOptions::new().create(true).append(true).open(place.join(name)).expect("opened")
}

fn store_evict_clear(actor: &Actor) {
    let other = actor.place.join("cache/v1-0000-le64");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&other).expect("made");
    fs::write(other.join("seg-1"), vec![1; 1 << 20]).expect("written");
    age(&other.join("seg-1"), std::time::Duration::from_hours(1));
    actor.begin();
    let store = actor.open();
    for number in 1..=5 {
        if number > 2 {
            fill(&store);
        }
        // The segment of the first two goes for the fourth's, the third's for the fifth's.
        actor.may_lose([&[][..], &[1, 2], &[3]][usize::from(number).saturating_sub(3)].to_vec());
        actor.insert(&store, number);
    }
    actor.may_lose(NUMBERS);
    store.clear().expect("cleared");
    insert(&actor.open(), 6).expect("stored");
}

/// The first is used, and so never lost; the others go with their segments.
fn evict_and_keep(actor: &Actor) {
    let store = actor.open();
    for number in 1..=3 {
        actor.insert(&store, number);
        fill(&store);
        if number == 2 {
            actor.begin();
        }
        hit(&store, [1; 16]);
    }
    actor.may_lose([2, 3]);
    actor.insert(&store, 4);
    fill(&store);
    actor.may_lose([4]);
    actor.insert(&store, 5);
    store.settle();
}

fn collect_and_grow(actor: &Actor) {
    const HOUR: std::time::Duration = std::time::Duration::from_hours(1);
    let store = actor.open();
    for number in 1..=3 {
        actor.insert(&store, number);
        fill(&store);
    }
    age(&store.segment_path(1), 3 * HOUR);
    let temporary = store.directory().join("tmp-1");
    let layout = actor.place.join("cache/v1-0000-le64");
    fs::create_dir(&layout).expect("made");
    for path in [&temporary, &layout.join("index"), &layout.join("notes")] {
        fs::write(path, "x").expect("written");
        age(path, 24 * 31 * HOUR);
    }
    actor.begin();
    actor.may_lose([1]);
    actor.collect(&store, actor.max_bytes, Some(2 * HOUR));
    actor.may_lose([2]);
    // The second segment has 2 MiB, the third 4.
    actor.collect(&store, 6 << 20, None);
    actor.insert(&store, 4);
    actor.may_lose([4]);
    let is_the_last = &mut |draft: &Draft| draft.direct_key == [4; 16];
    let discarded = store.discard(false, is_the_last, &mut |_, _| {}).expect("it can");
    assert_eq!(discarded.records, 1);
    assert!(store.grow_index(40_000, true, &mut |_, _| {}).expect("it can"));
    let words = store.word_count();
    let store = actor.open();
    assert!(store.word_count() > words, "the index has grown");
    actor.insert(&store, 5);
}

fn compress_and_restore(actor: &Actor) {
    let store = actor.open();
    for number in 1..=4 {
        insert_with_set(&store, number).expect("stored");
        actor.note(&format!("stored {number}"));
    }
    actor.begin();
    let all = Until { raw_bytes: 0, idle: None };
    store.compress(all, false, &mut |_, _| {}).expect("compressed");
    assert!((1..=4).all(|number| !look(&store.cache, number) && look_compressed(&store, number)));
    actor.insert(&store, 5);
}

fn store_a_large_one(actor: &Actor) {
    let file = make_large_file(&actor.place);
    let store = actor.open();
    actor.insert(&store, 1);
    actor.begin();
    store.put_file(&file).expect("stored");
    actor.note(&format!("stored {LARGE}"));
    actor.insert(&store, 2);
}

/// A file of 65 MiB, sparse, of which no two MiB are the same.
fn make_large_file(place: &Path) -> File {
    fs::write(place.join("large"), "").expect("written");
    let file = File::options().read(true).write(true).open(place.join("large")).expect("opened");
    for mib in 1..=65u64 {
        file.write_all_at(&mib.to_le_bytes(), (mib << 20) - 8).expect("written");
    }
    file
}

/// Not a test by itself: the process that dies at the point whose number it is given.
#[test]
fn as_the_process_that_dies() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let name = std::env::var(SCENE).expect("given");
    let last = std::env::var(LAST_POINT).expect("given").parse().expect("a number");
    let scene = SCENES.iter().find(|scene| scene.name == name).expect("a scene");
    (scene.act)(&Actor { place: place.into(), max_bytes: scene.max_bytes, last });
}

/// What a process that died, or did not, has left.
struct Left {
    scratch: Scratch,
    died: bool,
    points: Vec<String>,
    done: BTreeSet<String>,
}

fn die_at(scene: &Scene, point: usize) -> Left {
    let scratch = Scratch::new();
    let ended = Command::new(std::env::current_exe().expect("it has a name"))
        .args(["--exact", "store::tests::crash::as_the_process_that_dies"])
        .env(SCENE, scene.name)
        .env(PLACE, scratch.path())
        .env(LAST_POINT, point.to_string())
        .output()
        .expect("it starts");
    assert!(ended.status.success() || ended.status.signal() == Some(9), "{ended:?}");
    let lines = |name: &str| fs::read_to_string(scratch.path().join(name)).unwrap_or_default();
    let points: Vec<_> = lines("points").lines().map(str::to_owned).collect();
    let done = lines("done").lines().map(str::to_owned).collect();
    Left { scratch, died: !ended.status.success(), points, done }
}

impl Left {
    fn must_be_there(&self, number: u8) -> bool {
        let has = |what: &str| self.done.contains(&format!("{what} {number}"));
        has("stored") && !has("may lose")
    }

    /// What was stored and not given up is there, all that is found is right, storing goes on, and no space is lost.
    fn check(&self, scene: &Scene) {
        let died = self.points.last().map_or("", String::as_str);
        let cache = self.scratch.path().join("cache");
        let report = verify(&cache, scene.max_bytes, false, &mut |_, _| {});
        let report = report.unwrap_or_else(|error| panic!("{error}; died after {died}"));
        assert_eq!(report.damage, [], "died after {died}");
        let store = self.scratch.open_with(scene.max_bytes);
        for number in NUMBERS.chain([LARGE]) {
            let is_there = self.is_there(&store, number);
            assert!(is_there || !self.must_be_there(number), "{number} is lost; after {died}");
        }
        let go_on = |number| {
            insert(&store, number).unwrap_or_else(|error| panic!("{error}; died after {died}"));
        };
        go_on(9);
        fill(&store);
        go_on(10);
        let again = self.scratch.open_with(scene.max_bytes);
        assert!(look(&again.cache, 9) && look(&again.cache, 10), "died after {died}");
        for number in NUMBERS {
            look(&again.cache, number);
        }
        self.check_space(scene, &again);
    }

    fn is_there(&self, store: &Store, number: u8) -> bool {
        if number != LARGE {
            return look(&store.cache, number) || look_compressed(store, number);
        }
        let Ok(bytes) = fs::read(self.scratch.path().join("large")) else { return false };
        let place = store.cache.find_blob(blake3::hash(&bytes).as_bytes());
        let Some(entry) = place.and_then(|place| store.cache.segments.entry(place)) else {
            return false;
        };
        let mut found = vec![0; bytes.len()];
        entry.copy_out(0, &mut found).expect("it is that long");
        assert!(found == bytes, "wrong bytes of the large object");
        true
    }

    /// Of temporary files nothing is left once they are old, nor of segments that were given up.
    fn check_space(&self, scene: &Scene, store: &Store) {
        let cache = self.scratch.path().join("cache");
        let day = std::time::Duration::from_hours(24);
        for path in temporary_files(store) {
            age(&path, day);
        }
        let wanted = Wanted { max_bytes: scene.max_bytes, max_age: None, dry_run: false };
        collect(&cache, store, wanted, &mut |_, _| {}).expect("collected");
        assert_eq!(temporary_files(store), [] as [PathBuf; 0], "after {:?}", self.points.last());
        let oldest = store.window().oldest;
        assert!(files::segments(store.directory()).iter().all(|(seq, _)| *seq >= oldest));
        assert!(look(&self.scratch.open_with(scene.max_bytes).cache, 10));
    }
}

fn temporary_files(store: &Store) -> Vec<PathBuf> {
    let names = fs::read_dir(store.directory()).expect("read").flatten();
    let is_temporary = |path: &PathBuf| path.to_string_lossy().contains("/tmp-");
    names.map(|name| name.path()).filter(is_temporary).collect()
}

/// The points at which to die: all, but of those in a row with one name only the first and the last.
fn deaths(points: &[String]) -> Vec<usize> {
    let is_inside = |at: usize| {
        let before = at.checked_sub(1).and_then(|at| points.get(at));
        before == points.get(at) && points.get(at) == points.get(at + 1)
    };
    (0..points.len()).filter(|at| !is_inside(*at)).collect()
}

fn die_at_each_point_of(name: &str) {
    let scene = SCENES.iter().find(|scene| scene.name == name).expect("a scene");
    let all = die_at(scene, usize::MAX);
    assert!(!all.died);
    all.check(scene);
    let deaths = deaths(&all.points);
    for at in &deaths {
        let left = die_at(scene, at + 1);
        assert!(left.died && left.points == all.points[..=*at], "{name} goes another way");
        left.check(scene);
    }
    tell(&format!("{name}: deaths at {} points of {}", deaths.len(), all.points.len()));
}

#[test]
fn a_death_while_storing_evicting_and_clearing() {
    die_at_each_point_of("storing");
}

#[test]
fn a_death_while_moving_what_survives() {
    die_at_each_point_of("surviving");
}

#[test]
fn a_death_while_collecting_and_making_the_index_larger() {
    die_at_each_point_of("collecting");
}

#[test]
fn a_death_while_compressing() {
    die_at_each_point_of("compressing");
}

#[test]
fn a_death_while_storing_what_is_larger_than_a_segment() {
    die_at_each_point_of("large");
}

/// All names of points that the sources have.
fn names_in(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            names_in(&path, names);
            continue;
        }
        let text = fs::read_to_string(&path).expect("text");
        let calls = text.split("fault::point(\"").skip(1);
        names.extend(calls.filter_map(|rest| Some(rest.split_once("\")")?.0.to_owned())));
    }
}

#[test]
fn every_point_lies_on_the_way_of_a_scene() {
    let mut unseen = BTreeSet::new();
    for room in ["shm", "index", "store"] {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room);
        names_in(&sources, &mut unseen);
    }
    assert!(unseen.len() > 30, "{unseen:?}");
    for scene in &SCENES {
        for point in die_at(scene, usize::MAX).points {
            unseen.remove(&point);
        }
    }
    assert_eq!(unseen, BTreeSet::new(), "never reached");
}
