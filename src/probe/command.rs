//! The command of an invocation: what the keys are made of, and what a record repeats in full.
//!
//! It reads the start-up stack and a few facts of the process; it looks nothing up.

use core::ffi::CStr;

use xxhash_rust::xxh3::Xxh3;

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
    bytes.get(from..).and_then(|base| CStr::from_bytes_with_nul(base).ok()).unwrap_or(path)
}

/// All that identifies an invocation before anything was observed.
#[derive(Debug)]
pub struct Command {
    call: Call,
    start: Start,
    directory: [u8; PATH_BYTES_MAX],
    directory_len: usize,
    /// The file mode creation mask.
    pub creation_mask: u32,
}

impl Command {
    /// Asks the process; `None` if it has no working directory that can be named.
    pub fn new(start: Start, call: Call) -> Option<Command> {
        let mut directory = [0; PATH_BYTES_MAX];
        let directory_len = raw::working_directory(&mut directory)?.to_bytes().len();
        let creation_mask = raw::creation_mask();
        Some(Command { call, start, directory, directory_len, creation_mask })
    }

    /// The working directory.
    pub fn directory(&self) -> &[u8] {
        self.directory.get(..self.directory_len).unwrap_or(b"/")
    }

    /// How ibid was called.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// The start-up block.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// Gives the command's bytes piece by piece: fixed facts, settings that change bytes, directory, tool, arguments.
    pub fn visit(&self, mut piece: impl FnMut(&[u8])) {
        let [a, b, c, d] = self.creation_mask.to_le_bytes();
        let (forced, masquerade) = (u8::from(self.call.forced), u8::from(self.call.masquerade));
        piece(&[a, b, c, d, forced, masquerade, 0, 0]);
        let mut field = |bytes: &[u8]| {
            piece(&(bytes.len() as u64).to_le_bytes());
            piece(bytes);
        };
        for name in [&b"IBID_ROOT"[..], b"IBID_REMAP"] {
            field(self.start.variable(name).map_or(&[][..], CStr::to_bytes));
        }
        field(self.directory());
        field(self.call.tool.to_bytes());
        for arg in self.start.args().skip(self.call.first) {
            field(arg.to_bytes());
        }
    }

    /// The key for the look-up by stamps.
    pub fn invocation_key(&self) -> [u8; 16] {
        self.key(b"ibid invocation")
    }

    /// The key for the look-up by digests.
    pub fn portable_key(&self) -> [u8; 16] {
        self.key(b"ibid portable")
    }

    fn key(&self, domain: &[u8]) -> [u8; 16] {
        let mut hasher = Xxh3::new();
        hasher.update(domain);
        self.visit(|piece| hasher.update(piece));
        hasher.digest128().to_le_bytes()
    }

    /// Whether a record's command is this one, byte for byte.
    pub fn is(&self, recorded: &[u8]) -> bool {
        let mut rest = Some(recorded);
        self.visit(|piece| rest = rest.and_then(|rest| rest.strip_prefix(piece)));
        rest.is_some_and(<[u8]>::is_empty)
    }
}

/// The fields of recorded command bytes after the fixed facts: root, remap, directory, tool, arguments.
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
