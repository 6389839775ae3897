//! Runs that fail and will fail again: whether one may be such, and what is noted of it the first time.
//!
//! A compiler's status 1 says that it failed, not why. The text must show an error in a source, nothing may have been short,
//! and the same must have come of the same twice, before a failing run is stored. Read next: `compilers/diagnostics.rs`,
//! `docs/failures.md`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bytemuck::Zeroable as _;
use xxhash_rust::xxh3::Xxh3;

use super::file_states::{KnownAbsent, is_shared_object};
use super::path_walker::c_path;
use super::record_builder::{Ending, RecordBuilder};
use crate::compilers::Policy;
use crate::observe::{Removed, SeenAbsence};
use crate::os::file_system::has_room;
use crate::os::run::Ended;
use crate::outcome::NotStored;
use crate::record::{self, BlobRef};
use crate::shm::raw::{self, Errno, Limited};
use crate::store::draft::{Draft, DraftInput, DraftOutput};
use crate::store::fingerprint::Fingerprint;
use crate::store::large::name_file;
use crate::store::name_blob;

/// The status of a compiler that found errors in its sources.
const STATUS: u8 = 1;
/// Where less can be written when the tool has ended, it may have been too little while it ran.
const SPARE_BYTES: u64 = 1 << 20;

/// Whether a failing run may be one that repeats itself, as far as its end and its text show.
pub fn may_repeat(policy: &Policy, ended: &Ended) -> bool {
    let Some(text) = &ended.text else { return false };
    ended.status.code() == Some(STATUS)
        && !is_limited()
        && policy.shows_source_error(&text.stdout, &text.stderr)
}

/// Whether memory or the length of files is limited: the tool may have failed for that, whatever it says.
fn is_limited() -> bool {
    let limits = [Limited::AddressBytes, Limited::DataBytes, Limited::FileBytes];
    limits.into_iter().any(|limited| raw::limit(limited) != u64::MAX)
}

impl RecordBuilder<'_> {
    pub(super) fn is_failing(&self) -> bool {
        matches!(self.ending, Ending::FirstFailure | Ending::RepeatedFailure)
    }

    /// Whether outputs and text are only named, to compare them with another run's.
    pub(super) fn only_names(&self) -> bool {
        self.ending.repeated().is_some()
    }

    /// What may be done by runs that end in another way only. What an unknown program makes of a failure is not known; a run
    /// that succeeds and removes a file cannot be told from one that moves it.
    pub(super) fn unlike_ending(&self) -> Option<NotStored> {
        if self.is_failing() {
            return self.runs_unknown_programs().then_some(NotStored::UnrepeatableInput);
        }
        let mut removed = self.observation.removed.iter();
        removed.any(|removed| removed.was_there).then_some(NotStored::SideEffect)
    }

    /// What a failing tool removes.
    pub(super) fn removed(&self) -> Result<Vec<DraftOutput>, NotStored> {
        let removed = self.observation.removed.iter().filter(|_| self.is_failing());
        let output = |removed: &Removed| {
            let path = c_path(&removed.path).filter(|path| raw::lstat(path) == Err(Errno::NOENT));
            let path = path.ok_or(NotStored::SideEffect).inspect_err(self.naming(&removed.path))?;
            let (flags, blob) = (record::REMOVED, BlobRef::zeroed());
            Ok(DraftOutput { path, create_mode: 0, mode: 0, flags, blob })
        };
        let absent = self.observation.absences.iter().filter(|absence| self.may_remove(absence));
        removed.map(output).chain(absent.map(absent_output)).collect()
    }

    /// Whether a failing tool would remove a file at a path where it found nothing: what leads nowhere is nothing to the judge,
    /// and a file to the tool.
    fn may_remove(&self, absence: &SeenAbsence) -> bool {
        let primary = self.policy.primary_output.as_deref();
        let is_named = |path: &Path| path.file_stem() == absence.path.file_stem();
        // rustc leaves what stands at the names of its outputs.
        self.is_failing() && primary.map_or(!self.policy.loads_macros(), is_named)
    }

    /// Whether an output may be shorter than the tool wanted it, without a word of that: on a full disk rustc's dep-info is.
    pub(super) fn may_be_short(&self, output: &DraftOutput) -> bool {
        let path = Path::new(OsStr::from_bytes(output.path.to_bytes()));
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let len_bytes = output.blob.len_bytes;
        (self.is_failing() || self.policy.hides_write_errors(path))
            && (len_bytes == 0 || !has_room(directory, SPARE_BYTES + len_bytes))
    }

    /// Stores bytes, unless they are only to be named.
    pub(super) fn keep(&self, bytes: &[u8]) -> Result<BlobRef, NotStored> {
        if self.only_names() {
            return Ok(name_blob(bytes));
        }
        self.store.put_blob(bytes).map_err(|error| error.not_stored())
    }

    /// Bytes that are stored if there are any.
    pub(super) fn blob(&self, bytes: &[u8]) -> Result<Option<BlobRef>, NotStored> {
        if bytes.is_empty() {
            return Ok(None);
        }
        self.keep(bytes).map(Some)
    }

    /// [`RecordBuilder::keep`] of the content of a file.
    pub(super) fn keep_file(&self, file: &File) -> Result<BlobRef, NotStored> {
        if self.only_names() {
            return name_file(file).map_err(|_| NotStored::OutputChanged);
        }
        self.store.put_file(file).map_err(|error| error.not_stored())
    }
}

/// A path at which nothing may be at all.
fn absent_output(absence: &SeenAbsence) -> Result<DraftOutput, NotStored> {
    let path = c_path(&absence.path).ok_or(NotStored::SideEffect)?;
    let flags = record::REMOVED | record::ONLY_IF_ABSENT;
    Ok(DraftOutput { path, create_mode: 0, mode: 0, flags, blob: BlobRef::zeroed() })
}

/// Whether the same command gave the same the last time that it was run with the same inputs. If not, notes what it gave.
pub fn is_repeated(builder: &RecordBuilder, known_absent: KnownAbsent) -> Result<bool, NotStored> {
    let draft = builder.build(known_absent)?;
    let noted = builder.store.note_outcome(&fingerprint(builder, &draft));
    noted.map_err(|error| error.not_stored())
}

/// Of a run: what it was made from, and what came of it, with place-holders for its places. What was removed is left out: once it
/// is, there is nothing to remove.
fn fingerprint(builder: &RecordBuilder, draft: &Draft) -> Fingerprint {
    let (mut made_from, mut outcome) = (Fields::default(), Fields::default());
    made_from.add(&builder.content_key);
    // What is only there or not (an old object), and what the observers name in different ways (libraries), are conditions of
    // the record, and say nothing against the outcome.
    let is_read = |input: &&DraftInput| {
        let path = Path::new(OsStr::from_bytes(input.path.to_bytes()));
        matches!(input.kind, record::CONTENT | record::REMADE) && !is_shared_object(path)
    };
    let read: BTreeSet<[u8; 32]> =
        draft.inputs.iter().filter(is_read).map(|input| input.digest).collect();
    for digest in &read {
        made_from.add(digest);
    }
    // Whom the record serves is no part of the outcome.
    let flags = draft.flags & !(record::ANYWHERE | record::ANY_OUTPUT);
    outcome.add(&flags.to_le_bytes());
    let is_there = |flags: u32| flags & record::REMOVED == 0;
    for output in draft.outputs.iter().filter(|output| is_there(output.flags)) {
        outcome.add(&builder.places.hide(output.path.to_bytes()));
        outcome.add(&output.mode.to_le_bytes());
        outcome.add(&output.blob.digest);
    }
    for text in builder.ended.texts() {
        outcome.add(&builder.places.hide(text));
    }
    Fingerprint { made_from: made_from.hash(), outcome: outcome.hash() }
}

/// A hash of fields, each with its length.
#[derive(Default)]
struct Fields(Xxh3);

impl Fields {
    fn add(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn hash(&self) -> [u8; 16] {
        self.0.digest128().to_le_bytes()
    }
}
