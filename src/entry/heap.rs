//! The heap of a process that lives for milliseconds: pieces are cut off a chunk, and kept by size once freed.
//!
//! A miss allocates some ten thousand pieces. libc's `malloc` is several times as many instructions for each, and
//! every page is a fault of its own; here a chunk's pages come at once. Large pieces are libc's, and so is what libc itself
//! allocates. No chunk is ever given back; the process ends soon.

#![allow(clippy::cast_ptr_alignment, reason = "every piece is aligned to a step of 16 bytes")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// Pieces up to this size are ours.
const PIECE_BYTES_MAX: usize = 64 << 10;
/// Up to this size, sizes are rounded up to multiples of a step, then to powers of two.
const STEPS_BYTES_MAX: usize = 1024;
/// Every piece is aligned to it.
const STEP_BYTES: usize = 16;
/// How many sizes there are, and an empty one.
const CLASSES: usize = class(PIECE_BYTES_MAX) + 1;
/// What is asked of the kernel at once: a call for sixteen pages costs little, a page that nobody needs as much as any.
const CHUNK_BYTES: usize = 64 << 10;
/// Pieces larger than this are no part of a chunk, whose rest would be lost.
const SHARED_BYTES_MAX: usize = CHUNK_BYTES / 4;

/// The program's allocator; each thread has a heap of its own, so that no lock is needed.
pub struct Heap;

struct Pieces {
    /// The rest of the chunk.
    next: *mut u8,
    left_bytes: usize,
    /// Freed pieces by size, each holding the address of the next.
    freed: [*mut u8; CLASSES],
}

thread_local! {
    static PIECES: UnsafeCell<Pieces> = const {
        UnsafeCell::new(Pieces {
            next: ptr::null_mut(),
            left_bytes: 0,
            freed: [ptr::null_mut(); CLASSES],
        })
    };
}

fn is_small(layout: Layout) -> bool {
    layout.size() <= PIECE_BYTES_MAX && layout.align() <= STEP_BYTES
}

/// The number of the size that a piece of at least `size` bytes has.
const fn class(size: usize) -> usize {
    if size <= STEPS_BYTES_MAX {
        return size.div_ceil(STEP_BYTES);
    }
    STEPS_BYTES_MAX / STEP_BYTES + (size.next_power_of_two() / STEPS_BYTES_MAX).ilog2() as usize
}

/// The size with this number.
const fn class_bytes(class: usize) -> usize {
    const STEPS: usize = STEPS_BYTES_MAX / STEP_BYTES;
    if class <= STEPS { class * STEP_BYTES } else { STEPS_BYTES_MAX << (class - STEPS) }
}

// A piece is as long as what is asked for, at the ends of every class.
const _: () = {
    let mut size = 1;
    while size < PIECE_BYTES_MAX {
        assert!(class_bytes(class(size)) == size.next_multiple_of(STEP_BYTES));
        assert!(class_bytes(class(size + 1)) > size && class(size + 1) < CLASSES);
        size *= 2;
    }
};

/// Calls `act` with this thread's pieces, which nobody else uses meanwhile.
fn with<R>(act: impl FnOnce(&mut Pieces) -> R) -> R {
    // SAFETY: the pieces are this thread's alone, and `act` neither allocates nor calls `with`.
    PIECES.with(|pieces| act(unsafe { &mut *pieces.get() }))
}

impl Pieces {
    /// A piece of a class; null if there is no memory.
    fn take(&mut self, class: usize) -> *mut u8 {
        let Some(freed) = self.freed.get_mut(class) else { return ptr::null_mut() };
        let piece = *freed;
        if piece.is_null() {
            return self.cut(class_bytes(class));
        }
        // SAFETY: a freed piece is at least one step long, aligned to a step, and holds the address of the next.
        *freed = unsafe { piece.cast::<*mut u8>().read() };
        piece
    }

    fn cut(&mut self, size: usize) -> *mut u8 {
        if size > SHARED_BYTES_MAX {
            return pages(size);
        }
        if size > self.left_bytes {
            let chunk = pages(CHUNK_BYTES);
            if chunk.is_null() {
                return chunk;
            }
            (self.next, self.left_bytes) = (chunk, CHUNK_BYTES);
        }
        let piece = self.next;
        self.next = piece.wrapping_add(size);
        self.left_bytes -= size;
        piece
    }

    fn keep(&mut self, piece: *mut u8, class: usize) {
        let Some(freed) = self.freed.get_mut(class) else { return };
        // SAFETY: the piece is at least one step long, aligned to a step, and nobody uses it any more.
        unsafe { piece.cast::<*mut u8>().write(*freed) };
        *freed = piece;
    }
}

/// Memory of the kernel's, all of its pages there already; null if there is none.
fn pages(len_bytes: usize) -> *mut u8 {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::POPULATE;
    // SAFETY: a new mapping, at a place that the kernel chooses.
    let pages = unsafe { mmap_anonymous(ptr::null_mut(), len_bytes, protection, flags) };
    pages.map_or(ptr::null_mut(), <*mut _>::cast)
}

// SAFETY: a small piece is cut off once and is in one list or in use; its class follows from its layout. All else is
// `System`'s.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_small(layout) {
            // An empty layout is not asked for, so that a class is never 0.
            return with(|pieces| pieces.take(class(layout.size())));
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_small(layout) {
            // SAFETY: the caller's promise. Large memory is zero when the kernel gives it.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: the caller's promise.
        let piece = unsafe { self.alloc(layout) };
        if !piece.is_null() {
            // SAFETY: the piece is as long as the layout says.
            unsafe { piece.write_bytes(0, layout.size()) };
        }
        piece
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        if is_small(layout) {
            return with(|pieces| pieces.keep(piece, class(layout.size())));
        }
        // SAFETY: the caller's promise; it was `System` that gave it.
        unsafe { System.dealloc(piece, layout) };
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise: `size`, rounded up to the alignment, is no overflow.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (is_small(layout), is_small(wanted)) {
            (true, true) if class(layout.size()) == class(size) => return piece,
            // SAFETY: the caller's promise; it was `System` that gave it.
            (false, false) => return unsafe { System.realloc(piece, layout, size) },
            _ => {}
        }
        // SAFETY: the caller's promise.
        let moved = unsafe { self.alloc(wanted) };
        if !moved.is_null() {
            // SAFETY: both are that long, and the new one is nobody else's.
            unsafe { ptr::copy_nonoverlapping(piece, moved, layout.size().min(size)) };
            // SAFETY: the caller's promise.
            unsafe { self.dealloc(piece, layout) };
        }
        moved
    }
}
