//! A record as owned values: what the wrapper fills in, what is written, and what a look-up by digests refreshes.
//!
//! It knows the bytes of a record, not why they say what they say. Read next: `decode.rs`, `record/mod.rs`.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};

use bytemuck::{Pod, Zeroable};
use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::record::{self, BlobRef, Cold, Head, Proof, Record, Search, Span};
use crate::shm::stat::Stamp;

/// An owned record.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// [`record::HAS_TEXT`] and its kin.
    pub flags: u32,
    /// Columns of the terminal, 0 if none.
    pub columns: u32,
    /// The CPU's identity, if [`record::NEEDS_CPU`].
    pub cpu: u64,
    /// How long the tool took, microseconds.
    pub tool_us: u64,
    /// The places of a result that serves others, if [`record::ANYWHERE`], or what binds it to its own; see [`Head::places`].
    pub places: CString,
    /// The command's bytes.
    pub command: Vec<u8>,
    /// Key for the look-up by stamps.
    pub direct_key: [u8; 16],
    /// Key for the look-up by content, see `path_set.rs`.
    pub result_key: [u8; 16],
    /// The environment that counts.
    pub variables: Vec<DraftVariable>,
    /// What the result was made from.
    pub inputs: Vec<DraftInput>,
    /// Directories that vouch for names.
    pub directories: Vec<DraftDirectory>,
    /// Absences that are looked at one by one: path and error number.
    pub absences: Vec<(CString, u32)>,
    /// What was searched by name, see [`record::Search`]: name, and what was found (empty: nothing).
    pub searches: Vec<(CString, CString)>,
    /// What is to be written, in this order.
    pub outputs: Vec<DraftOutput>,
    /// Text of standard output.
    pub stdout: Option<BlobRef>,
    /// Text of standard error.
    pub stderr: Option<BlobRef>,
}

/// A variable of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftVariable {
    /// Its name.
    pub name: CString,
    /// XXH3-128 of its value, `None` if it is unset.
    pub value: Option<[u8; 16]>,
    /// Flags beside [`record::IS_SET`].
    pub flags: u32,
}

/// A file, link or directory that the result depends on.
#[derive(Debug, Clone)]
pub struct DraftInput {
    /// As the tool spelled it.
    pub path: CString,
    /// [`record::CONTENT`] and its kin.
    pub kind: u32,
    /// Type and permission bits.
    pub mode: u32,
    /// Its stamp.
    pub stamp: Stamp,
    /// BLAKE3 of content, link target or listing; zero for [`record::EXISTS`].
    pub digest: [u8; 32],
    /// Inputs with the same number are one and the same file.
    pub group: u32,
    /// See [`Proof::times`].
    pub times: u32,
}

/// A directory that vouches for names.
#[derive(Debug, Clone)]
pub struct DraftDirectory {
    /// As the tool spelled it; empty for the working directory.
    pub path: CString,
    /// Its stamp.
    pub stamp: Stamp,
    /// The names, as [`record::Directory::names`] says.
    pub names: Vec<CString>,
}

/// A file to write.
#[derive(Debug, Clone)]
pub struct DraftOutput {
    /// As the tool spelled it.
    pub path: CString,
    /// The mode argument with which the tool created it.
    pub create_mode: u32,
    /// Its permission bits in the end.
    pub mode: u32,
    /// [`record::SET_MODE`] and [`record::ONLY_IF_ABSENT`].
    pub flags: u32,
    /// Its content.
    pub blob: BlobRef,
}

/// The bytes of a record.
#[derive(Debug)]
pub struct Encoded {
    /// What every look-up reads.
    pub hot: Vec<u8>,
    /// What only some read.
    pub cold: Vec<u8>,
}

/// Strings with the NUL at their end, and where each of them stands. One serves once: the reader takes a string that many claim for
/// damage.
type KnownStrings = FxHashMap<Vec<u8>, VecDeque<u32>>;

/// Bytes under construction.
#[derive(Default)]
struct RecordPart {
    bytes: Vec<u8>,
    /// Where strings stand already.
    known: KnownStrings,
}

impl RecordPart {
    fn place(&self, len: usize) -> Span {
        let fit = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span { at: fit(self.bytes.len()), len: fit(len) }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Span {
        let span = self.place(bytes.len());
        self.bytes.extend_from_slice(bytes);
        span
    }

    fn string(&mut self, string: &CStr) -> Span {
        let span = self.once(string.to_bytes_with_nul());
        Span { len: span.len - 1, ..span }
    }

    /// Strings one after the other.
    fn names(&mut self, names: &[CString]) -> Span {
        let bytes: Vec<u8> =
            names.iter().flat_map(|name| name.to_bytes_with_nul()).copied().collect();
        let len = u32::try_from(names.len()).unwrap_or(u32::MAX);
        Span { len, ..self.once(&bytes) }
    }

    fn once(&mut self, bytes: &[u8]) -> Span {
        match self.known.get_mut(bytes).and_then(VecDeque::pop_front) {
            Some(at) => Span { at, ..self.place(bytes.len()) },
            None => self.bytes(bytes),
        }
    }

    fn table<T: Pod>(&mut self, entries: &[T]) -> Span {
        let span = self.place(entries.len());
        self.bytes.extend_from_slice(bytemuck::cast_slice(entries));
        span
    }
}

/// The strings of a record's two parts, with the NUL at their end, each with where it stands; names of one directory are one.
fn known_strings(base: &Record<'_>, cold: &Cold<'_>) -> Option<[KnownStrings; 2]> {
    let (mut hot, mut names) = (KnownStrings::default(), KnownStrings::default());
    let known = |strings: &mut KnownStrings, bytes: Vec<u8>, at| {
        strings.entry(bytes).or_default().push_back(at);
    };
    let spans = [Some(base.head.places)]
        .into_iter()
        .chain(base.variables().map(|entry| Some(entry?.name)))
        .chain(base.inputs().map(|entry| Some(entry?.path)))
        .chain(base.directories().map(|entry| Some(entry?.path)))
        .chain(base.absences().map(|entry| Some(entry?.path)))
        .chain(base.outputs().map(|entry| Some(entry?.path)));
    for span in spans {
        let span = span?;
        known(&mut hot, base.string(span)?.to_bytes_with_nul().to_vec(), span.at);
    }
    for search in cold.searches(base) {
        let search = search?;
        for span in [search.name, search.found] {
            known(&mut names, cold.string(span)?.to_bytes_with_nul().to_vec(), span.at);
        }
    }
    for directory in base.directories() {
        let span = directory?.names;
        let all: Option<Vec<&CStr>> = cold.names(span).collect();
        let bytes = all?.into_iter().flat_map(CStr::to_bytes_with_nul).copied().collect();
        known(&mut names, bytes, span.at);
    }
    Some([hot, names])
}

impl Draft {
    /// Its key in the header of its entry.
    pub fn keys(&self) -> [u8; 32] {
        let mut keys = [0; 32];
        keys[..16].copy_from_slice(&self.direct_key);
        keys[16..].copy_from_slice(&self.result_key);
        keys
    }

    /// The record's bytes.
    pub fn encode(&self) -> Encoded {
        let hot = RecordPart { bytes: vec![0; size_of::<Head>()], ..RecordPart::default() };
        self.encode_after(hot, RecordPart::default())
    }

    /// The record's bytes; those of `base` stand before them, and its strings are used where they are the same. `None` if it is
    /// damaged.
    pub fn encode_like(&self, base: &Record<'_>, cold: &Cold<'_>) -> Option<Encoded> {
        let [known, known_cold] = known_strings(base, cold)?;
        let hot = RecordPart { bytes: base.bytes().to_vec(), known };
        Some(self.encode_after(hot, RecordPart { bytes: cold.0.to_vec(), known: known_cold }))
    }

    fn encode_after(&self, mut hot: RecordPart, mut cold: RecordPart) -> Encoded {
        let mut head = Head {
            flags: self.flags,
            columns: self.columns,
            cpu: self.cpu,
            tool_us: self.tool_us,
            places: hot.string(&self.places),
            command: hot.bytes(&self.command),
            stdout: self.stdout.unwrap_or_else(BlobRef::zeroed),
            stderr: self.stderr.unwrap_or_else(BlobRef::zeroed),
            ..Head::zeroed()
        };
        self.encode_cold(&mut head, &mut cold);
        self.encode_conditions(&mut head, &mut hot, &mut cold);
        let outputs: Vec<_> = self
            .outputs
            .iter()
            .map(|output| record::Output {
                path: hot.string(&output.path),
                create_mode: output.create_mode,
                mode: output.mode,
                flags: output.flags,
                reserved: 0,
                blob: output.blob,
            })
            .collect();
        head.outputs = hot.table(&outputs);
        head.cold_sum = xxh3_128(&cold.bytes).to_le_bytes();
        hot.bytes[..size_of::<Head>()].copy_from_slice(bytemuck::bytes_of(&head));
        Encoded { hot: hot.bytes, cold: cold.bytes }
    }

    fn encode_cold(&self, head: &mut Head, cold: &mut RecordPart) {
        let proofs: Vec<_> = self
            .inputs
            .iter()
            .map(|input| Proof { digest: input.digest, group: input.group, times: input.times })
            .collect();
        head.proofs = cold.table(&proofs);
        let searches: Vec<_> = self
            .searches
            .iter()
            .map(|(name, found)| Search { name: cold.string(name), found: cold.string(found) })
            .collect();
        head.searches = cold.table(&searches);
    }

    fn encode_conditions(&self, head: &mut Head, hot: &mut RecordPart, cold: &mut RecordPart) {
        let variables: Vec<_> = self
            .variables
            .iter()
            .map(|variable| record::Variable {
                name: hot.string(&variable.name),
                flags: variable.flags | if variable.value.is_some() { record::IS_SET } else { 0 },
                reserved: 0,
                value: variable.value.unwrap_or_default(),
            })
            .collect();
        head.variables = hot.table(&variables);
        let inputs: Vec<_> = self
            .inputs
            .iter()
            .map(|input| record::Input {
                path: hot.string(&input.path),
                kind: input.kind,
                mode: input.mode,
                stamp: input.stamp,
            })
            .collect();
        head.inputs = hot.table(&inputs);
        let directories: Vec<_> = self
            .directories
            .iter()
            .map(|directory| record::Directory {
                path: hot.string(&directory.path),
                stamp: directory.stamp,
                names: cold.names(&directory.names),
            })
            .collect();
        head.directories = hot.table(&directories);
        let absences: Vec<_> = self
            .absences
            .iter()
            .map(|(path, errno)| record::Absence {
                path: hot.string(path),
                errno: *errno,
                reserved: 0,
            })
            .collect();
        head.absences = hot.table(&absences);
    }

    /// Hash of all that a look-up by digests compares and gives, wherever files lie in time.
    pub fn identity(&self) -> [u8; 16] {
        // At once over all of it: many small updates take longer.
        let mut fields = Vec::with_capacity(128 * (self.inputs.len() + self.variables.len()));
        let mut field = |bytes: &[u8]| {
            fields.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            fields.extend_from_slice(bytes);
        };
        field(&self.result_key);
        for number in [self.flags, self.columns] {
            field(&number.to_le_bytes());
        }
        field(self.places.to_bytes());
        field(&self.cpu.to_le_bytes());
        for variable in self.variables.iter().filter(|v| !is_searched(v.name.to_bytes())) {
            field(variable.name.to_bytes());
            field(variable.value.as_ref().map_or(&[][..], |value| value));
        }
        for input in self.inputs.iter().filter(|input| !record::is_of_project(input.kind)) {
            field(input.path.to_bytes());
            field(&input.mode.to_le_bytes());
            field(&input.digest);
        }
        for output in &self.outputs {
            field(output.path.to_bytes());
            field(&output.blob.digest);
        }
        for blob in [&self.stdout, &self.stderr].into_iter().flatten() {
            field(&blob.digest);
        }
        xxh3_128(&fields).to_le_bytes()
    }

    /// Hash of the environment.
    pub fn circumstances(&self) -> u64 {
        let mut hasher = Xxh3::new();
        for variable in &self.variables {
            hasher.update(variable.name.to_bytes_with_nul());
            hasher.update(variable.value.as_ref().map_or(&[][..], |value| value));
        }
        hasher.digest()
    }
}

/// Variables that the look-up by digests does not compare by value: `PATH` is searched again, of `PWD` counts whether
/// it names the working directory.
pub fn is_searched(name: &[u8]) -> bool {
    matches!(name, b"PATH" | b"PWD")
}

/// Whether a record can be true of other files with the same content, and may be true on another machine, as failing runs may
/// not. Another cache never believes a stamp of this one.
pub fn is_of_use_elsewhere(draft: &Draft) -> bool {
    draft.flags & (record::STAMPS_ONLY | record::FAILS) == 0
        && draft.inputs.iter().all(|input| input.kind != record::METADATA)
}

/// The blobs that a record names.
pub(super) fn blobs_of(draft: &Draft) -> impl Iterator<Item = BlobRef> + '_ {
    let outputs = draft.outputs.iter().map(|output| output.blob);
    let blobs = outputs.chain(draft.stdout).chain(draft.stderr);
    blobs.filter(|blob| blob.len_bytes > 0)
}
