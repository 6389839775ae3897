//! Programs of the user's own that are rustc with something added: linked to its library, under any name.
//!
//! What such a program does with its crate and its variables is rustc's; what it adds is unknown code. Read next: `refusal.rs`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::compilers::{DRIVER_ASKS, DRIVER_LIBRARIES, DRIVER_LIBRARY};
use crate::observe::needed;
use crate::os::elf;

/// The image of `program`, if it is linked to rustc's library.
pub fn image(program: &Path) -> Option<PathBuf> {
    let image = std::fs::canonicalize(program).ok()?;
    needed(&image).iter().any(|name| begins(name, &[DRIVER_LIBRARY])).then_some(image)
}

/// Whether what is added cannot ask for the time, random numbers or process numbers by itself: it names nothing that gives
/// them, and is linked to no library but rustc's and libc's.
pub fn asks_nothing_more(image: &Path) -> bool {
    needed(image).iter().all(|name| begins(name, DRIVER_LIBRARIES))
        && elf::inspect(image, |elf| !elf.mentions(DRIVER_ASKS)).unwrap_or(false)
}

/// `library` is a name or, where it was linked so, a path.
fn begins(library: &OsStr, starts: &[&str]) -> bool {
    let name = Path::new(library).file_name().unwrap_or(library);
    starts.iter().any(|start| name.as_bytes().starts_with(start.as_bytes()))
}
