//! Files as mapped bytes that other processes may change at any time.
//!
//! No reference to mapped bytes ever leaves this file: control words are atomics, everything else is copied out by an
//! opaque copy. Every offset is checked against the length that was mapped. [`Map`] and [`MapMut`] map without libc, which the
//! probe runs before; what only runs after libc has started maps by `os/map.rs`.

use core::ops::Deref;

use bytemuck::{Pod, Zeroable};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::layout::{CONTROL_OFFSET, Control};
use super::words::{Ordering, Word, Words};

/// How much is hashed at a time: fits the first-level cache.
const BOUNCE_BYTES: usize = 8 << 10;

/// How many mappings [`bridge`] knows: the index twice, the volatile segment, all segments that are kept open.
const RANGES_MAX: usize = 72;

/// Beginning and end of each mapping.
static RANGES: [[Word; 2]; RANGES_MAX] = [const { [const { Word::new(0) }; 2] }; RANGES_MAX];
/// How many pages were bridged.
static BRIDGED: Word = Word::new(0);

/// Puts an empty page where the file behind a mapping has lost its own, so that the access goes on and finds zeros,
/// which no check sum takes for anything; false if `address` is in no mapping. Async-signal-safe.
pub fn bridge(address: usize) -> bool {
    let is_inside = |[from, to]: &[Word; 2]| {
        from.load(Ordering::Relaxed) <= address as u64
            && (address as u64) < to.load(Ordering::Relaxed)
    };
    if !RANGES.iter().any(is_inside) {
        return false;
    }
    BRIDGED.fetch_add(1, Ordering::Relaxed);
    // The page's size is not known here; a wrong one is refused.
    [12, 14, 16].into_iter().any(|bits| {
        let page = (address >> bits << bits) as *mut core::ffi::c_void;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the page lies in a mapping of ours, of which nobody expects any particular bytes.
        unsafe { mmap_anonymous(page, 1 << bits, access, MapFlags::PRIVATE | MapFlags::FIXED) }
            .is_ok()
    })
}

/// Whether a page was missing since this process began: nothing that it reads or writes is to be relied on.
pub fn was_bridged() -> bool {
    BRIDGED.load(Ordering::Relaxed) != 0
}

/// Lets [`bridge`] know a mapping; one too many is not known.
fn note(from: u64, to: u64) {
    let free = |range: &&[Word; 2]| range[1].load(Ordering::Relaxed) == 0;
    if let Some([start, end]) = RANGES.iter().find(free) {
        start.store(from, Ordering::Relaxed);
        end.store(to, Ordering::Relaxed);
    }
}

fn forget(from: u64) {
    let mut ranges = RANGES.iter();
    if let Some([start, end]) = ranges.find(|range| range[0].load(Ordering::Relaxed) == from) {
        end.store(0, Ordering::Relaxed);
        start.store(0, Ordering::Relaxed);
    }
}

/// Mapped bytes that are only read, by either kind of map.
#[derive(Debug)]
pub struct View {
    at: *mut u8,
    len: usize,
}

/// Mapped bytes that are also written, by atomics only.
#[derive(Debug)]
pub struct ViewMut(View);

/// A mapping that is only read.
#[derive(Debug)]
pub struct Map(View);

/// A mapping that is also written, by atomics only.
#[derive(Debug)]
pub struct MapMut(ViewMut);

// SAFETY: the pointer is owned by the value's owner, and all access goes through atomics or opaque copies.
unsafe impl Send for View {}
// SAFETY: as above; shared access from threads is no different from access by other processes.
unsafe impl Sync for View {}

impl View {
    /// The `len` bytes from `at`. [`bridge`] knows them until [`View::forget`].
    ///
    /// # Safety
    /// They are a shared mapping of a file that can be read as long as the view lives.
    pub unsafe fn new(at: *mut u8, len: usize) -> View {
        note(at as u64, at as u64 + len as u64);
        View { at, len }
    }

    /// The mapping is about to go.
    pub fn forget(&self) {
        forget(self.at as u64);
    }

    /// The mapped length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where `len` bytes from `offset` begin, if all of them are mapped.
    fn range(&self, offset: usize, len: usize) -> Option<*const u8> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        Some(self.at.wrapping_add(offset))
    }

    /// Copies `into.len()` bytes from `offset`; whether they were all inside the mapping.
    pub fn copy_out(&self, offset: usize, into: &mut [u8]) -> bool {
        let Some(from) = self.range(offset, into.len()) else { return false };
        // SAFETY: `from` has `into.len()` mapped bytes, `into` is ours alone.
        unsafe { opaque_copy(from, into.as_mut_ptr(), into.len()) };
        true
    }

    /// A private copy of the plain value at `offset`.
    pub fn get<T: Pod + Zeroable>(&self, offset: usize) -> Option<T> {
        let mut value = T::zeroed();
        self.copy_out(offset, bytemuck::bytes_of_mut(&mut value)).then_some(value)
    }

    /// `count` words from `offset`, which must be a multiple of 8.
    pub fn words(&self, offset: usize, count: usize) -> Option<WordsView<'_>> {
        self.atomics(offset, count).map(WordsView)
    }

    fn atomics(&self, offset: usize, count: usize) -> Option<&[Word]> {
        let at = self.range(offset, count.checked_mul(8)?)?;
        if at.align_offset(8) != 0 {
            return None;
        }
        #[allow(clippy::cast_ptr_alignment, reason = "checked above")]
        let first = at.cast::<Word>();
        // SAFETY: the range is mapped for the life of `self` and aligned; `Word` allows changes from elsewhere.
        Some(unsafe { core::slice::from_raw_parts(first, count) })
    }

    /// XXH3-128 of `len` bytes from `offset`.
    pub fn hash(&self, offset: usize, len: usize) -> Option<[u8; 16]> {
        self.range(offset, len)?;
        let mut bounce = [0u8; BOUNCE_BYTES];
        if let Some(whole) = bounce.get_mut(..len) {
            return self.copy_out(offset, whole).then(|| xxh3_128(whole).to_le_bytes());
        }
        let mut hasher = Xxh3::new();
        let mut done = 0;
        while done < len {
            let part = bounce.get_mut(..BOUNCE_BYTES.min(len - done))?;
            if !self.copy_out(offset + done, part) {
                return None;
            }
            hasher.update(part);
            done += part.len();
        }
        Some(hasher.digest128().to_le_bytes())
    }
}

impl ViewMut {
    /// The `len` bytes from `at`, as for [`View::new`].
    ///
    /// # Safety
    /// They are a shared mapping of a file that can be read and written as long as the view lives.
    pub unsafe fn new(at: *mut u8, len: usize) -> ViewMut {
        // SAFETY: the caller's promise.
        ViewMut(unsafe { View::new(at, len) })
    }

    /// `count` words from `offset`, which must be a multiple of 8.
    pub fn words_mut(&self, offset: usize, count: usize) -> Option<&[Word]> {
        self.0.atomics(offset, count)
    }

    /// The words of an index that change.
    pub fn control(&self) -> Option<&Control> {
        let at = self.0.range(CONTROL_OFFSET, size_of::<Control>())?;
        #[allow(
            clippy::cast_ptr_alignment,
            reason = "a mapping begins at a page, and the offset is a multiple"
        )]
        let control = at.cast::<Control>();
        // SAFETY: the range is mapped for the life of `self` and aligned; it holds nothing but atomics.
        Some(unsafe { &*control })
    }
}

impl Deref for ViewMut {
    type Target = View;
    fn deref(&self) -> &View {
        &self.0
    }
}

fn map(file: BorrowedFd<'_>, len: usize, access: ProtFlags) -> Result<*mut u8, Errno> {
    // SAFETY: the kernel chooses a free place; nothing that exists is replaced.
    unsafe { mmap(core::ptr::null_mut(), len, access, MapFlags::SHARED, file, 0) }
        .map(<*mut _>::cast)
}

fn unmap(view: &View) {
    view.forget();
    // SAFETY: the range was mapped by `map`, its owner is being dropped and nothing borrowed from it is left.
    let _ = unsafe { munmap(view.at.cast(), view.len) };
}

impl Map {
    /// Maps the first `len` bytes of `file`, shared, for reading. `len` must not be more than the file's length.
    pub fn new(file: BorrowedFd<'_>, len: usize) -> Result<Map, Errno> {
        let at = map(file, len, ProtFlags::READ)?;
        // SAFETY: just mapped, until the map is dropped.
        Ok(Map(unsafe { View::new(at, len) }))
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        unmap(&self.0);
    }
}

impl Deref for Map {
    type Target = View;
    fn deref(&self) -> &View {
        &self.0
    }
}

impl MapMut {
    /// Maps the first `len` bytes of `file`, shared, for reading and writing.
    pub fn new(file: BorrowedFd<'_>, len: usize) -> Result<MapMut, Errno> {
        let at = map(file, len, ProtFlags::READ | ProtFlags::WRITE)?;
        // SAFETY: just mapped, until the map is dropped.
        Ok(MapMut(unsafe { ViewMut::new(at, len) }))
    }
}

impl Drop for MapMut {
    fn drop(&mut self) {
        unmap(&self.0);
    }
}

impl Deref for MapMut {
    type Target = ViewMut;
    fn deref(&self) -> &ViewMut {
        &self.0
    }
}

/// Words that can be loaded but, being on pages that are mapped for reading, not changed.
#[derive(Debug, Clone, Copy)]
pub struct WordsView<'a>(&'a [Word]);

impl WordsView<'_> {
    /// No words.
    pub fn empty() -> Self {
        WordsView(&[])
    }
}

impl Words for WordsView<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn load(&self, at: usize) -> u64 {
        self.0.load(at)
    }
    fn acquire(&self) {
        self.0.acquire();
    }
}

/// A copy that the compiler cannot see into: other processes may write what is read.
///
/// # Safety
/// `from` must have `len` mapped bytes, `to` must have `len` bytes that nobody else uses.
#[cfg(target_arch = "x86_64")]
unsafe fn opaque_copy(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the direction flag is clear by the ABI; both ranges are the caller's promise.
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") len => _, inout("rsi") from => _, inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}

/// A copy that the compiler cannot see into: other processes may write what is read.
///
/// # Safety
/// `from` must have `len` mapped bytes, `to` must have `len` bytes that nobody else uses.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn opaque_copy(from: *const u8, to: *mut u8, len: usize) {
    let mut done = 0;
    while done < len {
        // SAFETY: `done < len`, and `from` is the caller's promise.
        let byte = unsafe { from.add(done).read_volatile() };
        // SAFETY: `done < len`, and `to` is the caller's promise.
        unsafe { to.add(done).write(byte) };
        done += 1;
    }
}
