//! What is fuzzed: bytes that claim to be a record, and bytes over those of a cache. cargo-fuzz drives it, and
//! `tests/it/fuzz.rs` at random.
#![allow(dead_code, reason = "each program drives one of the targets")]

use std::ffi::{CString, OsStr};
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ibid::index::cache::Cache;
use ibid::probe::command::{Call, Command};
use ibid::probe::content::Contents;
use ibid::probe::judge::{Environment, judge};
use ibid::probe::settings::Settings;
use ibid::probe::{Answer, look};
use ibid::record::{Cold, Record};
use ibid::shm::access::Access;
use ibid::shm::digests::DigestTable;
use ibid::shm::layout::{
    Checked, DIRECTORY, EntryHeader, IndexHeader, SEGMENT_BYTES, SegmentHeader,
};
use ibid::shm::start::{Start, start_from};
use ibid::store::Store;
use ibid::store::draft::{Draft, DraftOutput};
use ibid::store::verify::verify;

fn start(number: usize) -> Start {
    let args = ["ibid", "gcc", "-c"].map(Into::into);
    start_from(args.into_iter().chain([number.to_string().into()]), [("HOME".into(), "/".into())])
}

fn command(start: Start) -> Command<'static> {
    let call = Call::read(&start).expect("a tool is named");
    Command::kept(start, call, &Settings::default()).expect("a working directory")
}

/// Any bytes as a record: the first two say where its cold part begins.
pub fn record(bytes: &[u8]) {
    thread_local! {
        static WORLD: (Command<'static>, Environment) = {
            let start = start(0);
            (command(start), Environment(start))
        };
    }
    let Some((at, bytes)) = bytes.split_first_chunk::<2>() else { return };
    let hot = usize::from(u16::from_le_bytes(*at)).min(bytes.len());
    let (hot, cold) = bytes.split_at(hot);
    let Some(record) = Record::read(hot) else { return };
    let _ = Draft::decode(&record, &Cold(cold), &[0; 32]);
    WORLD.with(|(command, environment)| {
        let nothing_known = DigestTable::new(&[]);
        let load = || Some((Cold(cold), <&mut [u8]>::default()));
        let mut contents = Contents::new(nothing_known, Access::Own, load);
        let _ = judge(&record, command, environment, &mut contents);
    });
}

/// How many invocations the fixture knows.
const KNOWN: usize = 6;
/// Two segments: the index is small.
const MAX_BYTES: u64 = 2 * SEGMENT_BYTES + (1 << 20);
/// How much of a segment is in use, and more.
const USED: usize = 64 << 10;

/// A cache that knows some invocations, and what they give.
pub struct Fixture {
    directory: tempfile::TempDir,
    environment: Environment,
    commands: Vec<Command<'static>>,
    files: Vec<Original>,
    arena: Vec<u8>,
    pub hits: usize,
    pub misses: usize,
}

/// A file of the cache, and the bytes that it should have.
struct Original {
    file: File,
    bytes: Vec<u8>,
}

impl Fixture {
    pub fn new() -> Fixture {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let commands: Vec<_> = (0..KNOWN).map(|number| command(start(number))).collect();
        let store = Store::open(&directory.path().join("cache"), MAX_BYTES).expect("it opens");
        for (number, command) in commands.iter().enumerate() {
            let blob = store.put_blob(&content(number)).expect("stored");
            let draft = Draft {
                direct_key: command.direct_key(),
                result_key: [7; 16],
                outputs: vec![DraftOutput {
                    path: c_path(&output(directory.path(), number)),
                    create_mode: 0o666,
                    mode: 0o666 & !command.creation_mask,
                    flags: 0,
                    blob,
                }],
                command: command.bytes().to_vec(),
                ..Draft::default()
            };
            store.put_record(&draft).expect("stored");
        }
        let inside = directory.path().join("cache").join(DIRECTORY);
        let files = ["index", "seg-0000000000000001"].map(|name| Original::of(&inside.join(name)));
        let environment = Environment(start(0));
        let arena = vec![0; 1 << 20];
        Fixture { directory, environment, commands, files: files.into(), arena, hits: 0, misses: 0 }
    }

    /// Lays bytes over those of the cache, as they themselves say, looks everything up, and takes them off again.
    pub fn mutate(&mut self, mut bytes: &[u8]) {
        let with_right_sums = bytes.first().is_some_and(|byte| byte % 2 == 1);
        while let Some(([which, low, mid, len], rest)) = bytes.split_first_chunk::<4>() {
            let original = &self.files[usize::from(*which) % self.files.len()];
            let at = usize::from(u16::from_le_bytes([*low, *mid])) * 4 % original.bytes.len();
            let laid =
                &rest[..rest.len().min(usize::from(*len) % 64 + 1).min(original.bytes.len() - at)];
            original.file.write_all_at(laid, at as u64).expect("written");
            bytes = &rest[laid.len()..];
        }
        if with_right_sums {
            self.files.iter().for_each(Original::seal);
        }
        self.look_everything_up();
        if self.misses % 16 == 1 {
            let cache = self.directory.path().join("cache");
            let _ = verify(&cache, MAX_BYTES, false, &mut |_, _| {});
        }
        self.files.iter().for_each(Original::restore);
    }

    /// Looks everything up as a hit does.
    pub fn look_everything_up(&mut self) {
        let cache = c_path(&self.directory.path().join("cache"));
        let Some(cache) = Cache::open(&cache, false) else { return };
        for (number, command) in self.commands.iter().enumerate() {
            let output = output(self.directory.path(), number);
            match look(&cache, command, &self.environment, &mut self.arena, |_| ()) {
                Answer::Hit(..) => {
                    assert!(
                        fs::read(&output).expect("delivered") == content(number),
                        "wrong bytes"
                    );
                    fs::remove_file(output).expect("removed");
                    self.hits += 1;
                }
                Answer::Miss | Answer::Undelivered(_) => self.misses += 1,
            }
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let head = &self.files[0].bytes;
        let name = head[56..120].split(|byte| *byte == 0).next().unwrap_or(b"");
        let _ = fs::remove_file(Path::new("/dev/shm").join(OsStr::from_bytes(name)));
    }
}

impl Original {
    fn of(path: &Path) -> Original {
        let file = OpenOptions::new().read(true).write(true).open(path).expect("it is there");
        let len = usize::try_from(file.metadata().expect("it is open").len()).expect("small");
        let mut bytes = vec![0; len.min(USED)];
        file.read_exact_at(&mut bytes, 0).expect("it is that long");
        Original { file, bytes }
    }

    fn restore(&self) {
        self.file.write_all_at(&self.bytes, 0).expect("written");
    }

    /// Gives every header the check sum of what it says now, so that a look-up goes on past it.
    fn seal(&self) {
        let mut bytes = vec![0; self.bytes.len()];
        self.file.read_exact_at(&mut bytes, 0).expect("it is that long");
        seal::<IndexHeader>(&mut bytes, b"ibidIDX1");
        seal::<SegmentHeader>(&mut bytes, b"ibidSEG1");
        for at in (4096..bytes.len()).step_by(64) {
            seal::<EntryHeader>(&mut bytes[at..], &ibid::shm::layout::ENTRY_MAGIC.to_le_bytes());
        }
        self.file.write_all_at(&bytes, 0).expect("written");
    }
}

/// If `bytes` begin as a header does: its right check sum.
fn seal<H: Checked>(bytes: &mut [u8], magic: &[u8]) {
    if let Some(head) = bytes.get_mut(..size_of::<H>()).filter(|head| head.starts_with(magic)) {
        let right = bytemuck::pod_read_unaligned::<H>(head).expected_check();
        head[H::CHECK_OFFSET..][..8].copy_from_slice(&right.to_le_bytes());
    }
}

/// What an invocation gives: it follows from its number.
fn content(number: usize) -> Vec<u8> {
    (0..=250u8).cycle().take(number * 1711 + 3).map(|byte| byte ^ number.to_le_bytes()[0]).collect()
}

fn output(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("{number}.o"))
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no NUL")
}
