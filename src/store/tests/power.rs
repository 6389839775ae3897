//! What a power loss leaves: any mixture of old and new pages, torn ones, holes, files that are missing or short.
//!
//! Every version of every page of a cache is recorded while entries are stored, segments are left and evicted. Images
//! are put together from them at random, by a seed: up to some moment, each page in any of its versions. In each, every entry is
//! looked up: right bytes or a miss. Some are opened as a store, where what is compressed and what is told by another record is looked at, too.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::Scratch;
use super::reference::{
    Random, insert, insert_delta, insert_with_set, is_long, look, look_compressed, look_told, tell,
};
use super::years::hit;
use crate::index::cache::Cache;
use crate::shm::access::Access;
use crate::shm::fault;
use crate::shm::layout::DIRECTORY;
use crate::store::Store;
use crate::store::append::fill;
use crate::store::compress::Until;
use crate::store::verify::verify;

/// An index, of either length, and two or three segments, which are as short as can be.
const MAX_BYTES: u64 = 5 << 20;
const PAGE: usize = 4096;
const SECTOR: usize = 512;
/// How much of a file is looked at: that is all of it.
const LOOKED_AT: usize = (2 << 20) + 4096;
/// Entries that are stored.
const NUMBERS: std::ops::RangeInclusive<u8> = 1..=14;

type Page = Rc<[u8]>;

/// All that was ever in the files of a cache.
#[derive(Default)]
struct History {
    /// Versions of each page, with the moment at which each was written.
    pages: BTreeMap<(String, usize), Vec<(usize, Page)>>,
    /// Lengths of each file, `None` where it was not there.
    files: BTreeMap<String, Vec<(usize, Option<u64>)>>,
    moments: usize,
}

impl History {
    /// Notes what differs from the last moment.
    fn look(&mut self, directory: &Path) {
        self.moments += 1;
        let now = self.moments;
        let Ok(entries) = fs::read_dir(directory) else { return };
        let mut present = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().into_string().expect("our own names");
            // A temporary file counts from when it has its name; its pages are those then.
            let Ok(file) = File::open(entry.path()) else { continue };
            if name.starts_with("tmp-") || name.starts_with("lock") {
                continue;
            }
            let len = file.metadata().expect("it is open").len();
            self.note_file(&name, Some(len));
            let mut bytes = vec![0; LOOKED_AT.min(usize::try_from(len).expect("64 bits"))];
            file.read_exact_at(&mut bytes, 0).expect("it is that long");
            bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
            for (at, page) in bytes.chunks(PAGE).enumerate() {
                let versions = self.pages.entry((name.clone(), at)).or_default();
                let is_known = match versions.last() {
                    Some((_, last)) => **last == *page,
                    None => page.iter().all(|byte| *byte == 0),
                };
                if !is_known {
                    versions.push((now, page.into()));
                }
            }
            present.push(name);
        }
        let gone: Vec<_> =
            self.files.keys().filter(|name| !present.contains(name)).cloned().collect();
        for name in &gone {
            self.note_file(name, None);
        }
    }

    fn note_file(&mut self, name: &str, len: Option<u64>) {
        let states = self.files.entry(name.to_owned()).or_default();
        if states.last().is_none_or(|(_, last)| *last != len) {
            states.push((self.moments, len));
        }
    }
}

/// Stores entries in several segments, some of which are evicted, compresses some, and records all of it.
fn record(scratch: &Scratch) -> History {
    let history = Rc::new(RefCell::new(History::default()));
    let watched = Rc::clone(&history);
    let directory = scratch.path().join("cache").join(DIRECTORY);
    fault::watch(move |_| watched.borrow_mut().look(&directory));
    let mut store = scratch.open_with(MAX_BYTES);
    for number in NUMBERS {
        match number {
            4 | 8 | 13 => {
                hit(&store, [number - 1; 16]);
                fill(&store);
            }
            6 => {
                // As after a reboot.
                let epoch = &store.control().expect("mapped").epoch;
                epoch.store(1, crate::shm::words::Ordering::Relaxed);
                store = scratch.open_with(MAX_BYTES);
            }
            11 => {
                assert!(store.grow_index(33_000, true, &mut |_, _| {}).expect("it can"));
                store = scratch.open_with(MAX_BYTES);
            }
            // What was stored up to now is compressed.
            12 => {
                let all = Until { raw_bytes: 0, idle: None };
                let done = store.compress(all, false, &mut |_, _| {}).expect("it can");
                assert!(done.results > 2, "{done:?}");
            }
            _ => {}
        }
        insert_with_set(&store, number).expect("stored");
        if number % 5 == 3 {
            insert_delta(&store, number);
        }
    }
    fault::watch(|_| ());
    history.take()
}

/// A cache as it may stand on disk after the power is back.
struct Image {
    /// The directory of the layout.
    inside: PathBuf,
}

impl Image {
    fn in_cache(cache: &Path) -> Image {
        let inside = cache.join(DIRECTORY);
        DirBuilder::new().recursive(true).mode(0o700).create(&inside).expect("made");
        Image { inside }
    }

    /// Gives the image the state of a moment: each file and each page in some version up to then.
    fn lose_power(&self, history: &History, random: &mut Random) {
        let moment = 1 + random.below(history.moments);
        // How many pages in a hundred are as new as can be: nearly all, or few.
        let fresh = [99, 95, 80, 50, 10][random.below(5)];
        for (name, states) in &history.files {
            let path = self.inside.join(name);
            let known = until(states, moment);
            let stale = !known.is_empty() && random.below(100) >= fresh.max(80);
            let state = if stale {
                known[random.below(known.len())].1
            } else {
                known.last().and_then(|s| s.1)
            };
            match state {
                Some(len) => self.lay(history, name, moment, fresh, len, random),
                None => drop(fs::remove_file(path)),
            }
        }
    }

    fn lay(
        &self,
        history: &History,
        name: &str,
        moment: usize,
        fresh: usize,
        len: u64,
        random: &mut Random,
    ) {
        let path = self.inside.join(name);
        let file =
            OpenOptions::new().create(true).truncate(true).write(true).open(path).expect("opened");
        // Lengths reach the disk on their own: a file may be shorter than what was written to it.
        let is_short = random.once_in(60);
        file.set_len(if is_short { random.next() % (len + 1) } else { len }).expect("set");
        if is_short {
            return;
        }
        for ((_, at), versions) in
            history.pages.range((name.to_owned(), 0)..=(name.to_owned(), usize::MAX))
        {
            let known = until(versions, moment);
            if let Some(page) = mix(known, fresh, random) {
                file.write_all_at(&page, (at * PAGE) as u64).expect("written");
            }
        }
        // The last page may be longer than the rest of the file.
        file.set_len(len).expect("set");
    }
}

fn until<T>(states: &[(usize, T)], moment: usize) -> &[(usize, T)] {
    &states[..states.partition_point(|(then, _)| *then <= moment)]
}

/// One of a page's versions, or a page torn between two of them; `None` is a hole.
fn mix(versions: &[(usize, Page)], fresh: usize, random: &mut Random) -> Option<Vec<u8>> {
    let last = versions.last()?;
    if random.below(100) < fresh {
        return Some(last.1.to_vec());
    }
    let mut any = || match random.below(versions.len() + 1) {
        0 => vec![0; last.1.len()],
        at => versions[at - 1].1.to_vec(),
    };
    let (mut page, other) = (any(), any());
    for (sector, torn) in page.chunks_mut(SECTOR).zip(other.chunks(SECTOR)) {
        if random.once_in(2) {
            sector.copy_from_slice(torn);
        }
    }
    Some(page)
}

#[derive(Default, Debug)]
struct Tally {
    hits: usize,
    misses: usize,
    compressed: usize,
    told: usize,
}

fn look_all(cache: &Cache, tally: &mut Tally) {
    for number in NUMBERS {
        if look(cache, number) {
            tally.hits += 1;
        } else {
            tally.misses += 1;
        }
    }
}

/// What is stored after a power loss is there, and harms nothing that is.
fn go_on(history: &History, random: &mut Random, tally: &mut Tally) {
    let scratch = Scratch::new();
    Image::in_cache(&scratch.path().join("cache")).lose_power(history, random);
    look_at_others(&scratch.open_with(MAX_BYTES), tally);
    insert(&scratch.open_with(MAX_BYTES), 99).expect("stored");
    let store = scratch.open_with(MAX_BYTES);
    assert!(look(&store.cache, 99));
    verify(&scratch.path().join("cache"), MAX_BYTES, true, &mut |_, _| {}).expect("repaired");
    let report = verify(&scratch.path().join("cache"), MAX_BYTES, false, &mut |_, _| {});
    assert_eq!(report.expect("read").damage, []);
    assert!(look(&store.cache, 99));
    look_all(&store.cache, &mut Tally::default());
    look_at_others(&store, tally);
}

/// Looks at what is compressed, and at what another record tells.
fn look_at_others(store: &Store, tally: &mut Tally) {
    for number in NUMBERS {
        tally.compressed += usize::from(look_compressed(store, number));
        tally.told += usize::from(look_told(store, number));
    }
}

/// Images that are only looked at are in memory, where there is such a place: they are small, their files are sparse.
fn memory() -> tempfile::TempDir {
    let memory = tempfile::Builder::new().prefix("test-of-ibid-").tempdir_in("/dev/shm");
    memory.or_else(|_| tempfile::tempdir()).expect("a temporary directory")
}

#[test]
fn after_a_power_loss_each_entry_is_right_or_a_miss() {
    let seed = Random::seed();
    let mut random = Random::new(seed);
    let scratch = Scratch::new();
    let history = record(&scratch);
    let images = if is_long() { 200_000 } else { 10_000 };
    tell(&format!("power loss: {} moments, seed {seed}", history.moments));
    let (mut tally, mut unusable) = (Tally::default(), 0);
    let memory = memory();
    let image = Image::in_cache(memory.path());
    for _ in 0..images {
        image.lose_power(&history, &mut random);
        let directory = File::open(&image.inside).expect("it is there");
        match Cache::open_at(OwnedFd::from(directory).into(), Access::Own) {
            Some(cache) => look_all(&cache, &mut tally),
            None => unusable += 1,
        }
    }
    for _ in 0..images / 50 {
        go_on(&history, &mut random, &mut tally);
    }
    tell(&format!("power loss: {images} images, {unusable} without an index, {tally:?}"));
    assert!(tally.hits > images && tally.misses > images);
    assert!(tally.compressed > 50 && tally.told > 5, "{tally:?}");
}
