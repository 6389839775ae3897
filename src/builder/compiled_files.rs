//! Files that compilers have made: whether a name can be searched for in one, and whether one holds code that is still to be
//! compiled.
//!
//! Read next: `place.rs`, `mapped.rs`.

use std::fs;
use std::path::Path;

use memchr::memmem;

use super::file_text::FileText;
use super::places::is_at_or_below;
use crate::os::elf;

/// A larger file is taken for one that may hold anything.
const SCANNED_BYTES_MAX: u64 = 256 << 20;

/// Directories of the system: what lies there names no place.
const SYSTEM: [&[u8]; 3] = [b"/usr", b"/lib", b"/lib64"];
/// How objects and programs, archives, and metadata of crates begin.
const COMPILED: [&[u8]; 4] = [elf::MAGIC, WASM, ARCHIVE, METADATA];
const WASM: &[u8] = b"\0asm";
const ARCHIVE: &[u8] = b"!<arch>\n";
const METADATA: &[u8] = b"rust\0\0\0";
/// Sections that are compressed, or hold a compiler's intermediate code.
const UNREADABLE: [&[u8]; 4] = [b".zdebug_", b".gnu.lto_", b".llvmbc", b".llvm.lto"];

/// Whether a path is in the system's own directories.
pub fn is_system(path: &[u8]) -> bool {
    SYSTEM.iter().any(|directory| is_at_or_below(path, directory))
}

/// Whether what a linker read may be compiled only there, or cannot be looked through.
pub fn holds_intermediate_code(path: &Path) -> bool {
    const BITCODE: [&[u8]; 2] = [b"BC\xc0\xde", b"\xde\xc0\x17\x0b"];
    let Some(bytes) = scanned(path) else { return true };
    let is_compiled = bytes.starts_with(elf::MAGIC) || bytes.starts_with(ARCHIVE);
    BITCODE.iter().any(|start| memmem::find(&bytes, start).is_some())
        || is_compiled && !is_searchable(&bytes)
}

/// The bytes of a file that is to be looked through; `None` if it is too large, or cannot be read.
pub fn scanned(path: &Path) -> Option<Vec<u8>> {
    let len_bytes = fs::metadata(path).ok()?.len();
    Some(path).filter(|_| len_bytes <= SCANNED_BYTES_MAX).and_then(|path| fs::read(path).ok())
}

/// The text of a file that no compiler has made.
pub fn text_of(path: &Path) -> FileText {
    FileText::of(path, &COMPILED, SCANNED_BYTES_MAX)
}

/// Whether a name can be searched for in what a compiler has written: it is an object, an archive, or metadata of a crate.
pub fn is_searchable(bytes: &[u8]) -> bool {
    let is_unreadable = |name: &[u8]| UNREADABLE.iter().any(|start| name.starts_with(start));
    if bytes.starts_with(elf::MAGIC) {
        return elf::is_plain(bytes, is_unreadable);
    }
    // Of these the names are not told from what is in their members or sections.
    let mut unreadable = UNREADABLE.iter();
    [WASM, ARCHIVE, METADATA].iter().any(|start| bytes.starts_with(start))
        && unreadable.all(|name| memmem::find(bytes, name).is_none())
}
