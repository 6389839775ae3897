//! Many records: all are found, and what a look-up costs and how large the files get is said.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use ibid::index::cache::Cache as Opened;
use ibid::store::Store;
use ibid::store::draft::Draft;

use crate::random::Random;
use crate::tools::{self, say};

const MAX_BYTES: u64 = 40 << 30;

fn key(number: u64) -> [u8; 16] {
    let mut random = Random::new(number);
    let mut key = [0; 16];
    for half in key.chunks_mut(8) {
        half.copy_from_slice(&random.next().to_le_bytes());
    }
    key
}

/// Stores so many records, each with an object of its own.
fn store(directory: &Path, records: u64) {
    let mut store = Store::open(directory, MAX_BYTES).unwrap();
    for number in 0..records {
        if number % 1000 == 999 {
            // As at the end of a process.
            store.settle();
            store = Store::open(directory, MAX_BYTES).unwrap();
        }
        let object = store.put_blob(&number.to_le_bytes().repeat(20)).unwrap();
        let draft = Draft {
            command: vec![1; 300],
            direct_key: key(2 * number),
            result_key: key(2 * number + 1),
            stdout: Some(object),
            ..Draft::default()
        };
        store.put_record(&draft).unwrap();
    }
}

/// Opens the cache and looks one record and its object up, as a process that hits does; whether both are there.
fn look(directory: &Path, number: u64) -> bool {
    let path = CString::new(directory.as_os_str().as_bytes()).unwrap();
    let cache = Opened::open(&path, false).unwrap();
    let digest = *blake3::hash(&number.to_le_bytes().repeat(20)).as_bytes();
    let is_there = cache.records(&key(2 * number)).next().is_some();
    is_there && cache.find_blob(&digest).is_some()
}

/// So many records: the cost of a look-up.
fn measure(records: u64) -> u128 {
    const LOOKS: u64 = 4000;
    let scratch = tempfile::Builder::new().prefix("ibid-scale-").tempdir().unwrap();
    let directory = scratch.path().join("cache");
    let begin = Instant::now();
    store(&directory, records);
    let stored = begin.elapsed();
    let mut random = Random::new(records);
    let begin = Instant::now();
    let found = (0..LOOKS).filter(|_| look(&directory, random.next() % records)).count() as u64;
    let each = begin.elapsed().as_nanos() / u128::from(LOOKS);
    assert!(found >= LOOKS * 995 / 1000, "{found} of {LOOKS} among {records}");
    assert!(!look(&directory, records + 1));
    let inside = fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
    let size = |name: &str| {
        let files = fs::read_dir(&inside).unwrap().flatten();
        let files = files.filter(|file| file.file_name().to_str().unwrap().starts_with(name));
        files.map(|file| file.metadata().unwrap().blocks() * 512).sum::<u64>() >> 20
    };
    say(&format!(
        "{records} records: stored in {:.1} s, look-up {each} ns, index {} MiB, segments {} MiB",
        stored.as_secs_f64(),
        size("index"),
        size("seg-")
    ));
    let name = Store::open(&directory, MAX_BYTES).unwrap().cache.index.header().volatile;
    let name = name.split(|byte| *byte == 0).next().unwrap();
    let _ = fs::remove_file(Path::new("/dev/shm").join(std::str::from_utf8(name).unwrap()));
    each
}

#[test]
fn a_look_up_among_many_records() {
    let few = measure(1000);
    let many = measure(if tools::long() { 1_000_000 } else { 30_000 });
    say(&format!("a look-up among many costs {} % of one among few", many * 100 / few.max(1)));
}
