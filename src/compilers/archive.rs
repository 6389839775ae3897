//! Whether an archive holds times, owners or modes of the files in it: not every archiver is told by an option.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const MAGIC: [&[u8; 8]; 2] = [b"!<arch>\n", b"!<thin>\n"];
/// The header before each member: name 16, date 12, owner 6, group 6, mode 8, size 10, end 2.
const HEADER_BYTES: usize = 60;

/// Whether the archive at `path` shows more of its members than their content; also where it cannot be read.
pub fn shows_times(path: &Path) -> bool {
    File::open(path).and_then(|file| is_plain(&file)).map_or(true, |is_plain| !is_plain)
}

/// Whether each member's date and owner are zero, and its mode is 644.
fn is_plain(file: &File) -> io::Result<bool> {
    let len_bytes = file.metadata()?.len();
    let mut magic = [0; 8];
    file.read_exact_at(&mut magic, 0)?;
    let is_thin = magic == *MAGIC[1];
    if !MAGIC.contains(&&magic) {
        return Ok(false);
    }
    let mut at = 8;
    while at < len_bytes {
        let mut header = [b' '; HEADER_BYTES];
        file.read_exact_at(&mut header, at)?;
        let field = |from: usize, to: usize| header[from..to].trim_ascii();
        let name = field(0, 16);
        // The table of symbols, and that of long names.
        let is_table = matches!(name, b"/" | b"//" | b"/SYM64/");
        let is_zero = |text: &[u8]| matches!(text, b"0" | b"");
        let has_no_owner = is_zero(field(28, 34)) && is_zero(field(34, 40));
        if !is_zero(field(16, 28)) || !has_no_owner || !is_table && field(40, 48) != b"644" {
            return Ok(false);
        }
        let size =
            std::str::from_utf8(field(48, 58)).ok().and_then(|text| text.parse::<u64>().ok());
        let Some(size) = size else { return Ok(false) };
        at += HEADER_BYTES as u64;
        if !is_thin || is_table {
            at += size + size % 2;
        }
    }
    Ok(true)
}
