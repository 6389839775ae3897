//! The command of an invocation: what the keys are made of, and what a record repeats in full.
//!
//! It reads the start-up stack and a few facts of the process; it looks nothing up.

use core::ffi::CStr;
use core::ops::Range;

use xxhash_rust::xxh3::xxh3_128;

use super::deliver::Terms;
use super::settings::Settings;
use crate::shm::raw;
use crate::shm::start::Start;

/// The longest path that is handled, its NUL included.
pub const PATH_BYTES_MAX: usize = 4096;

/// How ibid was asked to run a tool.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The tool as it was named.
    pub tool: &'static CStr,
    /// Where the tool's own arguments begin among ours.
    pub first: usize,
    /// `ibid exec -- TOOL`: whether to look although no policy knows the tool.
    pub forced: bool,
    /// Whether we were called by the tool's name.
    pub masquerade: bool,
}

impl Call {
    /// Reads the arguments; `None` if they name no tool (an option, or nothing).
    pub fn read(start: &Start) -> Option<Call> {
        let mut args = start.args();
        let name = args.next()?;
        let base = base_name(name);
        if !base.to_bytes().starts_with(b"ibid") {
            return Some(Call { tool: base, first: 1, forced: false, masquerade: true });
        }
        let tool = args.next()?;
        if tool.to_bytes() == b"exec" {
            let next = args.next()?;
            if next.to_bytes().starts_with(b"-") && next.to_bytes() != b"--" {
                return None;
            }
            let (tool, first) =
                if next.to_bytes() == b"--" { (args.next()?, 4) } else { (next, 3) };
            return Some(Call { tool, first, forced: true, masquerade: false });
        }
        if tool.to_bytes().first().is_none_or(|byte| *byte == b'-') {
            return None;
        }
        Some(Call { tool, first: 2, forced: false, masquerade: false })
    }
}

/// What follows the last slash.
pub fn base_name(path: &CStr) -> &CStr {
    let bytes = path.to_bytes_with_nul();
    let from = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    bytes.get(from..).and_then(|base| CStr::from_bytes_until_nul(base).ok()).unwrap_or(path)
}

/// What the key for the look-up by stamps is the hash of, before the command's own bytes. The number tells records apart that
/// do not say which settings their project had.
const DIRECT: &[u8] = b"ibid invocation 2";

/// What is known of standard input without a look at what is there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownInput {
    /// Nothing.
    Unknown,
    /// It was closed: what is there now was put there by our own runtime.
    Closed,
    /// It was read, and is the source.
    Source,
}

/// All that identifies an invocation before anything was observed.
#[derive(Debug)]
pub struct Command<'a> {
    call: Call,
    start: Start,
    /// [`DIRECT`], then the command's bytes.
    text: &'a [u8],
    directory: &'a [u8],
    /// Where [`Command::place`] stands in `text`.
    place: Range<usize>,
    /// What is known of standard input.
    pub input: KnownInput,
    /// The file mode creation mask.
    pub creation_mask: u32,
    /// See [`Terms::may_show`].
    pub may_show: Option<fn(&[u8]) -> bool>,
}

impl<'a> Command<'a> {
    /// Asks the process, and writes the command's bytes, with the `settings` that change what a tool writes, into
    /// `buffer`; with what is left of it. `None` if there is no working directory that can be named, or not enough room.
    pub fn new(
        start: Start,
        call: Call,
        settings: &Settings,
        buffer: &'a mut [u8],
    ) -> Option<(Self, &'a mut [u8])> {
        let creation_mask = raw::creation_mask();
        let mut text = CommandText { buffer, len: 0 };
        text.piece(DIRECT)?;
        text.piece(&creation_mask.to_le_bytes())?;
        text.piece(&[u8::from(call.forced), u8::from(call.masquerade), NO_SOURCE, 0])?;
        let place = text.len;
        text.field(settings.root)?;
        text.field(if settings.is_remapped { b"auto" } else { b"" })?;
        let directory = text.directory()?;
        let place = place..text.len;
        text.field(call.tool.to_bytes())?;
        for arg in start.args().skip(call.first) {
            text.field(arg.to_bytes())?;
        }
        let (text, rest) = text.buffer.split_at_mut_checked(text.len)?;
        let text = &*text;
        let directory = text.get(directory)?;
        let input = KnownInput::Unknown;
        let may_show = None;
        Some((
            Command { call, start, text, directory, place, input, creation_mask, may_show },
            rest,
        ))
    }

    /// The working directory.
    pub fn directory(&self) -> &'a [u8] {
        self.directory
    }

    /// All that says where the command runs: the settings that change bytes, and the directory, as fields.
    pub fn place(&self) -> &'a [u8] {
        self.text.get(self.place.clone()).unwrap_or(&[])
    }

    /// How ibid was called.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// The start-up block.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// The command's bytes: fixed facts, then as fields the settings that change bytes, directory, tool, arguments, and the
    /// source if it came by standard input.
    pub fn bytes(&self) -> &'a [u8] {
        self.text.get(DIRECT.len()..).unwrap_or(&[])
    }

    /// What of it counts for a delivery.
    pub fn terms(&self) -> Terms {
        Terms { creation_mask: self.creation_mask, may_show: self.may_show }
    }

    /// The key for the look-up by stamps.
    pub fn direct_key(&self) -> [u8; 16] {
        xxh3_128(self.text).to_le_bytes()
    }
}

#[cfg(feature = "std")]
impl Command<'static> {
    /// As [`Command::new`], with a buffer of its own, which lives as long as the arguments themselves.
    pub fn kept(start: Start, call: Call, settings: &Settings) -> Option<Self> {
        let len = |field: &CStr| field.count_bytes() + size_of::<u64>();
        let strings: usize = start.args().map(len).sum();
        let buffer = std::vec![0; strings + settings.root.len() + PATH_BYTES_MAX + 128];
        Some(Command::new(start, call, settings, buffer.leak())?.0)
    }
}

#[cfg(feature = "std")]
impl Command<'_> {
    /// The same with a source of this digest, which was read from standard input.
    #[must_use]
    pub fn with_source(&self, digest: [u8; 32]) -> Command<'static> {
        let mut text = self.text.to_vec();
        if let Some(mark) = text.get_mut(DIRECT.len() + SOURCE_MARK_AT) {
            *mark = HAS_SOURCE;
        }
        text.extend((digest.len() as u64).to_le_bytes());
        text.extend(digest);
        let directory = std::vec::Vec::leak(self.directory.to_vec());
        let (place, input) = (self.place.clone(), KnownInput::Source);
        Command { text: text.leak(), directory, place, input, ..*self }
    }
}

/// Where the command's bytes say whether the last field is a source, and what they say.
const SOURCE_MARK_AT: usize = 6;
const NO_SOURCE: u8 = 0;
const HAS_SOURCE: u8 = 1;

/// Whether the last of the recorded fields is a source.
pub fn has_source(recorded: &[u8]) -> bool {
    recorded.get(SOURCE_MARK_AT) == Some(&HAS_SOURCE)
}

/// The command's bytes while they are written.
struct CommandText<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl CommandText<'_> {
    fn piece(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.buffer.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    /// A piece with its length (64 bits, little-endian) before it.
    fn field(&mut self, bytes: &[u8]) -> Option<()> {
        self.piece(&(bytes.len() as u64).to_le_bytes())?;
        self.piece(bytes)
    }

    /// The working directory as a field, which the kernel writes in its place; where it stands.
    fn directory(&mut self) -> Option<Range<usize>> {
        let at = self.len.checked_add(size_of::<u64>())?;
        let room = self.buffer.get_mut(at..)?;
        let most = room.len().min(PATH_BYTES_MAX);
        let len = raw::working_directory(room.get_mut(..most)?)?;
        self.piece(&(len as u64).to_le_bytes())?;
        self.len += len;
        Some(at..self.len)
    }
}

/// Where the root stands among [`fields`].
pub const ROOT: usize = 0;
/// Where the setting that remaps names stands among [`fields`].
pub const REMAP: usize = 1;
/// Where the working directory stands among [`fields`].
pub const DIRECTORY: usize = 2;
/// Where the tool stands among [`fields`]; its arguments follow.
pub const TOOL: usize = 3;

/// The fields of recorded command bytes after the fixed facts: root, remap, directory, tool, arguments, and last
/// the source if it has one.
pub fn fields(recorded: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = recorded.get(8..).unwrap_or(&[]);
    core::iter::from_fn(move || {
        let (len, after) = rest.split_first_chunk::<8>()?;
        let (field, after) =
            after.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        rest = after;
        Some(field)
    })
}
