//! The start-up stack of a process (arguments and environment as the kernel laid them) as a safe value.
//!
//! It copies nothing and interprets nothing. Source: System V ABI, "Process Initialization".

use core::ffi::{CStr, c_char};

/// Arguments and environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    argc: usize,
    argv: *const *const c_char,
    envp: *const *const c_char,
}

impl Start {
    /// Reads the block that the kernel left at the initial stack pointer: argc, argv, NULL, envp, NULL.
    ///
    /// # Safety
    /// `stack` must point to such a block, which must stay unchanged for the life of the process.
    pub unsafe fn from_stack(stack: *const usize) -> Start {
        // SAFETY: the block begins with argc.
        let argc = unsafe { *stack };
        // SAFETY: argv follows argc.
        let argv = unsafe { stack.add(1) }.cast::<*const c_char>();
        // SAFETY: envp follows the NULL that ends argv.
        let envp = unsafe { argv.add(argc + 1) };
        Start { argc, argv, envp }
    }

    /// The arguments, the program's own name first.
    pub fn args(&self) -> Strings {
        Strings { next: self.argv, left: self.argc }
    }

    /// The strings `NAME=value` of the environment.
    pub fn environment(&self) -> Strings {
        Strings { next: self.envp, left: usize::MAX }
    }

    /// The value of `name`; the first one counts, as in libc's `getenv`.
    pub fn variable(&self, name: &[u8]) -> Option<&'static CStr> {
        let mut next = self.envp;
        loop {
            // SAFETY: `next` stays inside the block, which ends in a NULL.
            let entry = unsafe { *next };
            if entry.is_null() {
                return None;
            }
            // SAFETY: the entry is a string that the kernel ended with a NUL.
            if let Some(value) = unsafe { value_of(entry, name) } {
                return Some(value);
            }
            // SAFETY: the NULL that ends the row has not been reached.
            next = unsafe { next.add(1) };
        }
    }
}

/// The value in `entry` (`NAME=value`) if it is `name`'s. Most entries differ in their first byte: none is measured.
///
/// # Safety
/// `entry` must be a string ended by a NUL that nobody ever changes.
#[inline]
unsafe fn value_of(entry: *const c_char, name: &[u8]) -> Option<&'static CStr> {
    for (at, expected) in name.iter().enumerate() {
        let byte = entry.wrapping_add(at);
        // SAFETY: all bytes before this one were equal to others than NUL, so the string goes on here.
        if *expected == 0 || unsafe { *byte }.cast_unsigned() != *expected {
            return None;
        }
    }
    let end = entry.wrapping_add(name.len());
    // SAFETY: as above.
    if unsafe { *end }.cast_unsigned() != b'=' {
        return None;
    }
    // SAFETY: what follows the equals sign is the rest of the string.
    Some(unsafe { CStr::from_ptr(end.wrapping_add(1)) })
}

/// An iterator over NUL-terminated strings of the start-up block.
#[derive(Debug, Clone)]
pub struct Strings {
    next: *const *const c_char,
    left: usize,
}

impl Iterator for Strings {
    type Item = &'static CStr;

    fn next(&mut self) -> Option<&'static CStr> {
        if self.left == 0 {
            return None;
        }
        // SAFETY: `next` stays inside the block, which ends in a NULL.
        let string = unsafe { *self.next };
        if string.is_null() {
            self.left = 0;
            return None;
        }
        self.left -= 1;
        // SAFETY: the NULL that ends the row has not been reached.
        self.next = unsafe { self.next.add(1) };
        // SAFETY: the kernel ends every string with a NUL and never changes it.
        Some(unsafe { CStr::from_ptr(string) })
    }
}

#[cfg(feature = "std")]
pub use owned::start_from;

#[cfg(feature = "std")]
mod owned {
    use super::Start;
    use std::ffi::{CString, OsString};
    use std::os::unix::ffi::OsStringExt;
    use std::vec::Vec;

    /// A start-up block made from owned strings; it lives as long as the process (a wrapper makes one).
    pub fn start_from(
        args: impl IntoIterator<Item = OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Start {
        let leak = |bytes: Vec<u8>| {
            let until_nul = bytes.split(|b| *b == 0).next().unwrap_or(&[]).to_vec();
            CString::new(until_nul).unwrap_or_default().into_raw() as usize
        };
        let mut block: Vec<usize> = vec![0];
        block.extend(args.into_iter().map(|arg| leak(arg.into_vec())));
        block[0] = block.len() - 1;
        block.push(0);
        block.extend(environment.into_iter().map(|(name, value)| {
            let mut entry = name.into_vec();
            entry.push(b'=');
            entry.extend(value.into_vec());
            leak(entry)
        }));
        block.push(0);
        // SAFETY: the block has the layout of a start-up stack and is never freed.
        unsafe { Start::from_stack(Vec::leak(block).as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_and_variables_are_found() {
        let start = start_from(
            ["ibid", "gcc", "-c"].map(Into::into),
            [("PATHX", "no"), ("PATH", "/bin"), ("PATH", "/late"), ("EMPTY", "")]
                .map(|(n, v)| (n.into(), v.into())),
        );
        let args: std::vec::Vec<_> = start.args().map(CStr::to_bytes).collect();
        assert_eq!(args, [&b"ibid"[..], b"gcc", b"-c"]);
        assert_eq!(start.variable(b"PATH").map(CStr::to_bytes), Some(&b"/bin"[..]));
        assert_eq!(start.variable(b"EMPTY").map(CStr::to_bytes), Some(&b""[..]));
        assert_eq!(start.variable(b"PAT"), None);
    }
}
