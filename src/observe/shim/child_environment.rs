//! The variables that a program is run with: those that our caller gave, with the shim and the log, or without.

use core::mem::MaybeUninit;

use crate::link;
use crate::note;
use crate::raw::{self, CText, Texts};
use crate::variables::{OBSERVED, PRELOAD, text_at};

/// Space for a program's environment on the stack: what a child of `vfork` maps would stay in its parent.
pub struct Scratch {
    texts: [MaybeUninit<CText>; 512],
    preload: [MaybeUninit<u8>; 4608],
}

impl Scratch {
    /// Empty.
    pub const fn new() -> Scratch {
        Scratch { texts: [MaybeUninit::uninit(); 512], preload: [MaybeUninit::uninit(); 4608] }
    }
}

/// An environment for a program: the caller's, or a changed copy.
pub struct ChildEnvironment {
    pub texts: Texts,
    pub is_copy: bool,
    mapped: Option<(*mut u8, usize)>,
}

impl ChildEnvironment {
    /// Frees the copy, if it is not on the stack.
    pub fn release(self) {
        if let Some((copy, len)) = self.mapped {
            // SAFETY: nobody else knows the copy, and the call that used it is over.
            unsafe { raw::unmap(copy, len) };
        }
    }
}

fn without_shim<'a>(preload: &'a [u8], shim: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    preload
        .split(|byte| matches!(byte, b':' | b' '))
        .filter(move |part| !part.is_empty() && *part != shim)
}

/// The given environment with (or without) the shim and the log.
///
/// # Safety
/// `given` is null or an array of C strings that ends in a null.
pub unsafe fn environment(
    given: Texts,
    observed: bool,
    scratch: Option<&mut Scratch>,
) -> ChildEnvironment {
    let unchanged = ChildEnvironment { texts: given, is_copy: false, mapped: None };
    let shim = link::own_path();
    let (mut count, mut has_shim, mut has_log, mut preload) = (0, false, false, None);
    // SAFETY: `given` is an environment, by the contract of exec.
    while let Some(text) = unsafe { text_at(given, count) } {
        // SAFETY: as above.
        let text = unsafe { raw::bytes(text) };
        if let Some(value) = text.strip_prefix(PRELOAD) {
            preload = Some(value);
            has_shim = value.split(|byte| matches!(byte, b':' | b' ')).any(|part| part == shim);
        } else if text.starts_with(OBSERVED) {
            has_log = text == note::observed();
        }
        count += 1;
    }
    if (has_shim && has_log) == observed && (observed || !has_shim) {
        return unchanged;
    }
    let array_len = (count + 3) * size_of::<CText>();
    let text_len = PRELOAD.len() + preload.map_or(0, <[u8]>::len) + shim.len() + 2;
    let is_small = |scratch: &&mut Scratch| {
        count + 3 <= scratch.texts.len() && text_len <= scratch.preload.len()
    };
    let (array, text, mapped) = if let Some(scratch) = scratch.filter(is_small) {
        (scratch.texts.as_mut_ptr().cast::<CText>(), scratch.preload.as_mut_ptr().cast(), None)
    } else {
        let len = (array_len + text_len).next_multiple_of(4096);
        let Some(base) = raw::map(len, None) else {
            note::incomplete(b"had no memory for a program's environment", b"");
            return unchanged;
        };
        (base.cast::<CText>(), base.wrapping_add(array_len), Some((base, len)))
    };
    let mut used = 0;
    let mut push = |text: CText| {
        // SAFETY: the array has room for all texts, two more, and a null.
        unsafe { array.wrapping_add(used).write(text) };
        used += 1;
    };
    let mut index = 0;
    // SAFETY: as above.
    while let Some(text) = unsafe { text_at(given, index) } {
        // SAFETY: as above.
        let bytes = unsafe { raw::bytes(text) };
        if !bytes.starts_with(PRELOAD) && !bytes.starts_with(OBSERVED) {
            push(text);
        }
        index += 1;
    }
    // What the user had stays as it was: it is what the program will see, see `hide`.
    let (old, separator) = match preload {
        Some(preload) if has_shim => (preload, None),
        Some(preload) => (preload, Some(&b":"[..])),
        None => (&b""[..], Some(&b""[..])),
    };
    // SAFETY: there is room for the name, the old value, a colon, the shim and a zero.
    let any = unsafe {
        if observed {
            let added = separator.map(|separator| [separator, shim]);
            write_preload(text, b"", [old].into_iter().chain(added.into_iter().flatten()))
        } else {
            write_preload(text, b":", without_shim(old, shim))
        }
    };
    if any {
        push(text);
    }
    if observed {
        push(note::observed().as_ptr());
    }
    push(core::ptr::null());
    ChildEnvironment { texts: array.cast_const(), is_copy: true, mapped }
}

/// Writes `LD_PRELOAD=a:b`, with `separator` between the parts; says whether there was any part.
unsafe fn write_preload<'a>(
    to: *mut u8,
    separator: &[u8],
    parts: impl Iterator<Item = &'a [u8]>,
) -> bool {
    let mut at = to;
    let mut put = |bytes: &[u8]| {
        // SAFETY: the caller has made room for all parts.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
        at = at.wrapping_add(bytes.len());
    };
    let mut any = false;
    put(PRELOAD);
    for part in parts {
        if any {
            put(separator);
        }
        put(part);
        any = true;
    }
    put(b"\0");
    any
}
