//! What a record says, read in place from a private copy of its bytes.
//!
//! Every offset and count is checked when it is used; damage is an absence, never a panic. Who writes records:
//! `store/draft.rs`. Who judges them: `probe/judge.rs`. Read next: `docs/store.md`.

pub mod delta;
pub mod stored;

use core::ffi::CStr;
use core::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use crate::shm::segments::Place;
use crate::shm::stat::Stamp;

/// A run of bytes, or of table entries, in the part that the field's documentation names.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Span {
    /// Where it begins, in bytes.
    pub at: u32,
    /// Its length: bytes of a string (its NUL not counted), entries of a table.
    pub len: u32,
}

/// A blob as a record names it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct BlobRef {
    /// BLAKE3 of the bytes.
    pub digest: [u8; 32],
    /// XXH3-128 of the bytes.
    pub sum: [u8; 16],
    /// Length in bytes.
    pub len_bytes: u64,
    /// Where the blob stood when the record was written: segment number `<< 20 |` unit.
    pub hint: u64,
}

impl BlobRef {
    /// Where the blob stood when the record was written.
    #[inline]
    pub fn place(&self) -> Place {
        Place { seq: self.hint >> 20, unit: u32::try_from(self.hint & 0xf_ffff).unwrap_or(0) }
    }

    /// Says where the blob stands.
    pub fn set_place(&mut self, place: Place) {
        self.hint = place.seq << 20 | u64::from(place.unit);
    }
}

/// The record holds text to replay (standard output or error is not empty).
pub const HAS_TEXT: u32 = 1;
/// Both streams were the same file; all text is in `stdout`.
pub const MERGED: u32 = 2;
/// Standard output was a terminal.
pub const OUT_TERMINAL: u32 = 4;
/// Standard error was a terminal.
pub const ERR_TERMINAL: u32 = 8;
/// The result depends on the CPU on which the tool ran.
pub const NEEDS_CPU: u32 = 16;
/// File times may have entered the result: it must not be judged by digests.
pub const STAMPS_ONLY: u32 = 32;
/// The tool may have read standard input, which was closed.
pub const INPUT_CLOSED: u32 = 64;
/// The tool may have read standard input, which was `/dev/null` or a pipe without a writer and without content.
pub const INPUT_NULL: u32 = 128;
/// Where its text goes counts although there is none: a program that no policy knows may have asked.
pub const ASKS_STREAMS: u32 = 256;
/// The result says nothing of where it was made: it serves every directory in which its inputs are the same.
pub const ANYWHERE: u32 = 512;
/// Of [`ANYWHERE`]: the tool was given maps of its places' names, or reads files below them without a trace of the names (crates that
/// cargo has downloaded).
pub const MAPPED: u32 = 2048;
/// Of [`MAPPED`]: what is printed names places as paths, and is written anew for others.
pub const TEXT_NAMES_PLACES: u32 = 4096;
/// What its outputs are called is in nothing but the depfile: it serves commands that call them otherwise.
pub const ANY_OUTPUT: u32 = 8192;

/// The tool failed: its exit status is 1. Such a record serves this machine only.
pub const FAILS: u32 = 1024;

/// The head of the hot part.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Head {
    /// [`HAS_TEXT`] and its kin.
    pub flags: u32,
    /// Columns of the terminal that was there, 0 if none.
    pub columns: u32,
    /// The CPU's identity if [`NEEDS_CPU`].
    pub cpu: u64,
    /// How long the tool took, microseconds.
    pub tool_us: u64,
    /// Of [`ANYWHERE`]: the directories that say where the result was made, see `builder/places.rs`. Of [`MAPPED`] those of which
    /// the tool was given maps; else the highest one to which a relative path leads. Of other results what binds them to
    /// their place, in words.
    pub places: Span,
    /// XXH3-128 of the cold part.
    pub cold_sum: [u8; 16],
    /// The command (bytes, see `probe/command.rs`).
    pub command: Span,
    /// Table of [`Variable`].
    pub variables: Span,
    /// Table of [`Input`].
    pub inputs: Span,
    /// Table of [`Directory`].
    pub directories: Span,
    /// Table of [`Absence`].
    pub absences: Span,
    /// Table of [`Output`].
    pub outputs: Span,
    /// In the cold part: programs that were searched in `PATH`, table of [`Search`].
    pub searches: Span,
    /// In the cold part: a [`Proof`] for every input.
    pub proofs: Span,
    /// Text of standard output.
    pub stdout: BlobRef,
    /// Text of standard error.
    pub stderr: BlobRef,
}

/// A variable of the environment.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Variable {
    /// Its name.
    pub name: Span,
    /// [`IS_SET`] and its kin.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
    /// XXH3-128 of its value; zero if unset.
    pub value: [u8; 16],
}

/// The variable was set.
pub const IS_SET: u32 = 1;
/// The variable matters only where text is replayed.
pub const TEXT_ONLY: u32 = 2;
/// Not one variable (the name is empty) but all of them, see `probe/judge.rs`.
pub const WHOLE_ENVIRONMENT: u32 = 4;
/// The variable is `PWD`, and its value named the working directory.
pub const NAMES_DIRECTORY: u32 = 8;
/// Not a variable (the name is empty) but what `uname` says: the machine's name, the kernel and its version.
pub const HOST: u32 = 16;
/// Not one variable (the name is empty) but all of the dynamic loader, whose names begin with `LD_`.
pub const LOADER: u32 = 32;
/// The value names places as paths: in another place it names that.
pub const VALUE_NAMES_PLACES: u32 = 64;
/// The variable is `PATH` or `PWD`, and who asked for it may have done more than search with it: its value counts.
pub const BY_VALUE: u32 = 128;

/// A file, link or directory that the result depends on.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Input {
    /// Its path, as the tool spelled it.
    pub path: Span,
    /// [`CONTENT`] and its kin.
    pub kind: u32,
    /// Type and permission bits; what counts for [`EXISTS`].
    pub mode: u32,
    /// Its stamp.
    pub stamp: Stamp,
}

/// The content counts: `stat` gives the stamp.
pub const CONTENT: u32 = 0;
/// A symlink counts: `lstat` gives the stamp.
pub const LINK: u32 = 1;
/// Existence, type and permissions count, and that it is no symlink.
pub const EXISTS: u32 = 2;
/// Existence, type and permissions of what a symlink leads to count.
pub const LEADS: u32 = 4;
/// The names in a directory count: `stat` gives the stamp.
pub const LISTING: u32 = 3;
/// All that `stat` says of a file counts, its size and times too.
pub const METADATA: u32 = 5;
/// As [`CONTENT`], of a file that each rebuild makes anew: with another stamp too it counts as the same if the digest table
/// knows its content.
pub const REMADE: u32 = 6;

/// As [`CONTENT`], of the loader's cache: with another stamp it counts as the same if it gives the recorded answers (see
/// [`Search`]).
pub const ANSWERS: u32 = 7;
/// A project's settings file, or a file on the way to it that may make a directory the root: `stat` gives the stamp. This and the two
/// that follow count only for a look-up that does not know what the project's settings come to; they stand behind all others.
pub const PROJECT_FILE: u32 = 8;
/// Where no settings file of a project is; the mode is the error number.
pub const NO_PROJECT_FILE: u32 = 9;
/// What makes a directory the project's root: existence and type count.
pub const PROJECT_ROOT: u32 = 10;

/// Whether an input is one of [`PROJECT_FILE`] and its kin.
pub fn is_of_project(kind: u32) -> bool {
    matches!(kind, PROJECT_FILE | NO_PROJECT_FILE | PROJECT_ROOT)
}

/// A directory: as long as its stat is unchanged, the names recorded as missing in it are still missing.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Directory {
    /// Its path, as the tool spelled it; empty for the working directory.
    pub path: Span,
    /// Its stamp after the tool had ended.
    pub stamp: Stamp,
    /// In the cold part: the names, each ended by a NUL; `len` counts names. A name that ends in a slash must be a
    /// directory and no symlink, any other one must be absent. One that begins with a slash is as [`PROJECT_ROOT`] or
    /// [`NO_PROJECT_FILE`].
    pub names: Span,
}

/// A path that must lead nowhere.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Absence {
    /// The path, as the tool spelled it.
    pub path: Span,
    /// The error number of the look-up.
    pub errno: u32,
    /// Zero.
    pub reserved: u32,
}

/// A file to write.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Output {
    /// Its path, as the tool spelled it.
    pub path: Span,
    /// The mode argument with which the tool created it.
    pub create_mode: u32,
    /// Its permission bits in the end.
    pub mode: u32,
    /// [`SET_MODE`] and its kin.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
    /// Its content.
    pub blob: BlobRef,
}

/// The permission bits do not follow from the creation mode and the mask: they must be set.
pub const SET_MODE: u32 = 1;
/// The tool appends to what is there: true only where nothing is.
pub const ONLY_IF_ABSENT: u32 = 2;
/// Delivered only where something is there already.
pub const ONLY_IF_PRESENT: u32 = 4;

/// The tool puts a new file in the place of what is there, whatever its links and mode.
pub const REPLACES: u32 = 8;

/// Other invocations are made from it: its digest is noted when it is delivered.
pub const LIBRARY: u32 = 16;

/// The tool gave it its name when its content was whole, by `rename`: so does a delivery.
pub const NAMED_WHOLE: u32 = 32;

/// A directory, which is made where it is not there; it has no blob.
pub const DIRECTORY: u32 = 64;

/// A text that names places as paths, or outputs, and is written anew for others.
pub const NAMES_PLACES: u32 = 128;
/// The tool removes the file if it is there (with [`ONLY_IF_ABSENT`]: it may not be there); it has no blob.
pub const REMOVED: u32 = 256;

/// What the content look-up compares of an input (cold part).
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Proof {
    /// BLAKE3 of the content, of the link's target, or of the sorted listing.
    pub digest: [u8; 32],
    /// Inputs with the same number were one and the same file.
    pub group: u32,
    /// Of inputs with equal content, where their times count among each other: which of them had the same modification
    /// time, see `builder/equal_contents.rs`; else zero.
    pub times: u32,
}

/// What was searched by name (cold part): a program in `PATH` or, its name behind the path of the loader's cache and a slash, a
/// library in that.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Search {
    /// The name, in the cold part.
    pub name: Span,
    /// What was found, in the cold part; empty if nothing.
    pub found: Span,
}

/// A record's hot part.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The head.
    pub head: Head,
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the head of a hot part.
    pub fn read(bytes: &'a [u8]) -> Option<Record<'a>> {
        let head = bytemuck::try_pod_read_unaligned(bytes.get(..size_of::<Head>())?).ok()?;
        Some(Record { head, bytes })
    }

    /// The bytes of the hot part.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The command's bytes.
    pub fn command(&self) -> Option<&'a [u8]> {
        slice(self.bytes, self.head.command)
    }

    /// A string of the hot part.
    #[inline]
    pub fn string(&self, span: Span) -> Option<&'a CStr> {
        string(self.bytes, span)
    }

    /// The variables.
    pub fn variables(&self) -> Table<'a, Variable> {
        Table::new(self.bytes, self.head.variables)
    }

    /// The inputs.
    pub fn inputs(&self) -> Table<'a, Input> {
        Table::new(self.bytes, self.head.inputs)
    }

    /// The directories with names that are missing in them.
    pub fn directories(&self) -> Table<'a, Directory> {
        Table::new(self.bytes, self.head.directories)
    }

    /// The absences that are looked at one by one.
    pub fn absences(&self) -> Table<'a, Absence> {
        Table::new(self.bytes, self.head.absences)
    }

    /// The outputs, in the order in which they are to be written.
    pub fn outputs(&self) -> Table<'a, Output> {
        Table::new(self.bytes, self.head.outputs)
    }

    /// The tool's exit status.
    pub fn status(&self) -> u8 {
        u8::from(self.has(FAILS))
    }

    /// Whether a flag is set.
    pub fn has(&self, flag: u32) -> bool {
        self.head.flags & flag != 0
    }
}

/// A record's cold part.
#[derive(Debug, Clone, Copy)]
pub struct Cold<'a>(pub &'a [u8]);

impl<'a> Cold<'a> {
    /// A string of the cold part.
    pub fn string(&self, span: Span) -> Option<&'a CStr> {
        string(self.0, span)
    }

    /// The names recorded of a directory; `None` where they are damaged.
    pub fn names(&self, span: Span) -> impl Iterator<Item = Option<&'a CStr>> + use<'a> {
        let mut rest = self.0.get(span.at as usize..);
        (0..span.len).map(move |_| {
            let name = CStr::from_bytes_until_nul(rest?).ok()?;
            rest = rest?.get(name.to_bytes_with_nul().len()..);
            Some(name)
        })
    }

    /// The proofs, one for each input.
    pub fn proofs(&self, record: &Record<'_>) -> Table<'a, Proof> {
        Table::new(self.0, record.head.proofs)
    }

    /// The programs that were searched in `PATH`.
    pub fn searches(&self, record: &Record<'_>) -> Table<'a, Search> {
        Table::new(self.0, record.head.searches)
    }
}

/// Entries of a table. An entry that does not lie inside the bytes is `None`: the record is damaged.
#[derive(Debug, Clone)]
pub struct Table<'a, T> {
    bytes: &'a [u8],
    at: usize,
    left: u32,
    entry: PhantomData<T>,
}

impl<'a, T: Pod> Table<'a, T> {
    fn new(bytes: &'a [u8], span: Span) -> Self {
        Table { bytes, at: span.at as usize, left: span.len, entry: PhantomData }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.left as usize
    }

    /// Entry number `at`, counted from the next one.
    pub fn get(&self, at: usize) -> Option<T> {
        let mut entry = self.clone();
        entry.left = self.left.checked_sub(u32::try_from(at).ok()?)?;
        entry.at = at.checked_mul(size_of::<T>())?.checked_add(self.at)?;
        entry.next()?
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<T: Pod> Iterator for Table<'_, T> {
    type Item = Option<T>;

    fn next(&mut self) -> Option<Option<T>> {
        self.left = self.left.checked_sub(1)?;
        let end = self.at.checked_add(size_of::<T>());
        let entry = end.and_then(|end| self.bytes.get(self.at..end));
        if entry.is_none() {
            self.left = 0;
        }
        self.at += size_of::<T>();
        Some(entry.map(bytemuck::pod_read_unaligned))
    }
}

fn slice(bytes: &[u8], span: Span) -> Option<&[u8]> {
    bytes.get(span.at as usize..)?.get(..span.len as usize)
}

#[inline]
fn string(bytes: &[u8], span: Span) -> Option<&CStr> {
    let with_nul = bytes.get(span.at as usize..)?.get(..(span.len as usize).checked_add(1)?)?;
    CStr::from_bytes_with_nul(with_nul).ok()
}

const _: () = assert!(size_of::<Head>() == 48 + 8 * 8 + 2 * 64);
const _: () = assert!(size_of::<Variable>() == 32);
const _: () = assert!(size_of::<Input>() == 32);
const _: () = assert!(size_of::<Directory>() == 32);
const _: () = assert!(size_of::<Absence>() == 16);
const _: () = assert!(size_of::<Output>() == 88);
const _: () = assert!(size_of::<Proof>() == 40);
