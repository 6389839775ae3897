//! Finds the real functions: a walk over the loader's list of objects and their symbol tables.
//!
//! `dlsym` would do the same, but it allocates, locks, and is itself interposed by other preloads.

use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::elf::{gnu_hash, sysv_hash};
use crate::raw;

#[repr(C)]
pub struct Object {
    address: usize,
    name: *const u8,
    dynamic: *const Dynamic,
    next: *const Object,
    previous: *const Object,
}

#[repr(C)]
struct Dynamic {
    tag: i64,
    value: usize,
}

#[repr(C)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: usize,
    size: usize,
}

impl Object {
    /// The path by which the loader opened it; empty for the program itself.
    pub fn path(&self) -> &[u8] {
        // SAFETY: the loader keeps a C string here.
        unsafe { raw::bytes(self.name) }
    }

    /// Whether it is the page that the kernel maps into every process.
    pub fn is_vdso(&self) -> bool {
        let path = self.path();
        path.starts_with(b"linux-vdso") || path.starts_with(b"linux-gate")
    }

    /// Whether an address lies in one of its segments; unknown, so false, for a program at a fixed address.
    pub fn contains(&self, address: usize) -> bool {
        if self.address == 0 || address < self.address || self.is_vdso() {
            return false;
        }
        // The ELF header of a shared object is the first that is mapped.
        let header = self.address as *const u8;
        // SAFETY: the loader has read it there.
        if unsafe { core::slice::from_raw_parts(header, 4) } != b"\x7fELF" {
            return false;
        }
        // SAFETY: the 64-bit ELF header: the offset of the program headers at 32, their number at 56.
        let (offset, count): (u64, u16) =
            unsafe { (word(self.address, 4), word(self.address, 28)) };
        (0..usize::from(count)).any(|index| {
            let at = self.address + offset as usize + index * 56;
            // SAFETY: a program header: the type at 0, the address at 16, the length in memory at 40.
            let (kind, start, len): (u32, usize, usize) =
                unsafe { (word(at, 0), word(at, 2), word(at, 5)) };
            kind == 1 && (address - self.address).wrapping_sub(start) < len
        })
    }

    pub fn is_own(&self) -> bool {
        core::ptr::eq(self.dynamic, own_dynamic())
    }
}

fn own_dynamic() -> *const Dynamic {
    let address: *const Dynamic;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: an address is computed.
    unsafe {
        asm!(".hidden _DYNAMIC", "lea {}, [rip + _DYNAMIC]", out(reg) address, options(nomem, nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: an address is computed.
    unsafe {
        asm!(".hidden _DYNAMIC", "adrp {0}, _DYNAMIC", "add {0}, {0}, :lo12:_DYNAMIC", out(reg) address,
             options(nomem, nostack, preserves_flags));
    }
    address
}

impl Object {
    /// The objects behind this one, in the loader's order.
    pub fn following(&'static self) -> impl Iterator<Item = &'static Object> {
        from(self.next)
    }
}

/// An object and those behind it.
fn from(mut next: *const Object) -> impl Iterator<Item = &'static Object> {
    core::iter::from_fn(move || {
        // SAFETY: the loader keeps its list consistent for debuggers, which look at any time.
        let object: &'static Object = unsafe { next.as_ref() }?;
        next = object.next;
        Some(object)
    })
}

/// All objects, in the loader's order; none before we are relocated.
pub fn objects() -> impl Iterator<Item = &'static Object> {
    // `struct r_debug` of <link.h>: a version, then the first object.
    let debug: *const [*const Object; 2];
    #[cfg(target_arch = "x86_64")]
    // SAFETY: an address is read from our own table of addresses.
    unsafe {
        asm!(".weak _r_debug", "mov {}, [rip + _r_debug@GOTPCREL]", out(reg) debug, options(readonly, nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: an address is read from our own table of addresses.
    unsafe {
        asm!(".weak _r_debug", "adrp {0}, :got:_r_debug", "ldr {0}, [{0}, :got_lo12:_r_debug]", out(reg) debug,
             options(readonly, nostack, preserves_flags));
    }
    from(if debug.is_null() {
        core::ptr::null()
    } else {
        // SAFETY: the loader's own `_r_debug` lives as long as the process.
        unsafe { (*debug)[1] }
    })
}

/// The path by which the loader knows this shim; a zero byte follows.
pub fn own_path() -> &'static [u8] {
    objects().find(|object| object.is_own()).map_or(b"", Object::path)
}

/// The address of the next function of this name after our own object (what `RTLD_NEXT` means), 0 if there is none.
#[cold]
#[inline(never)]
fn find_next(name: &[u8]) -> usize {
    let after = objects().skip_while(|object| !object.is_own()).skip(1);
    find(name, after)
}

/// The address that the whole program agrees on for a variable of libc (perhaps a copy in the program), 0 if none.
#[cold]
#[inline(never)]
fn find_first(name: &[u8]) -> usize {
    find(name, objects().filter(|object| !object.is_own()))
}

fn find(name: &[u8], objects: impl Iterator<Item = &'static Object>) -> usize {
    let hash = gnu_hash(name);
    for object in objects.filter(|object| !object.is_vdso()) {
        // SAFETY: the object is mapped, and the tables that its dynamic section names with it.
        if let Some(address) = unsafe { find_in(object, name, hash) } {
            return address;
        }
    }
    0
}

#[derive(Default)]
struct Tables {
    symbols: usize,
    strings: usize,
    versions: usize,
    gnu_hash: usize,
    sysv_hash: usize,
}

fn tables(object: &Object) -> Tables {
    let mut tables = Tables::default();
    let mut entry = object.dynamic;
    loop {
        // SAFETY: the dynamic section ends with an entry of tag 0.
        let Some(Dynamic { tag, value }) = (unsafe { entry.as_ref() }) else { return tables };
        let address = if *value < object.address { value + object.address } else { *value };
        match *tag {
            0 => return tables,
            4 => tables.sysv_hash = address,
            5 => tables.strings = address,
            6 => tables.symbols = address,
            0x6fff_fef5 => tables.gnu_hash = address,
            0x6fff_fff0 => tables.versions = address,
            _ => {}
        }
        entry = entry.wrapping_add(1);
    }
}

/// # Safety
/// `address` is the start of a mapped table with more than `index` entries.
unsafe fn word<T: Copy>(address: usize, index: usize) -> T {
    // SAFETY: the caller's promise.
    unsafe { *(address as *const T).wrapping_add(index) }
}

unsafe fn find_in(object: &Object, name: &[u8], hash: u32) -> Option<usize> {
    let tables = tables(object);
    if tables.symbols == 0 || tables.strings == 0 {
        return None;
    }
    // SAFETY: the tables are those of a mapped object, which the loader has accepted.
    let index = unsafe {
        if tables.gnu_hash != 0 {
            find_by_gnu_hash(&tables, name, hash)
        } else if tables.sysv_hash != 0 {
            find_by_sysv_hash(&tables, name)
        } else {
            None
        }
    }?;
    // SAFETY: the index comes from the object's own hash table.
    let symbol = unsafe { &*(tables.symbols as *const Symbol).wrapping_add(index) };
    let address = object.address.wrapping_add(symbol.value);
    if symbol.info & 15 == 10 {
        // SAFETY: STT_GNU_IFUNC: the value is a resolver, which the loader has called as well.
        let resolver: extern "C" fn(u64, usize) -> usize = unsafe { core::mem::transmute(address) };
        return Some(resolver(hardware_capabilities(), 0));
    }
    Some(address)
}

/// What aarch64 resolvers get as their argument; x86-64 ones take none.
fn hardware_capabilities() -> u64 {
    0
}

unsafe fn find_by_gnu_hash(tables: &Tables, name: &[u8], hash: u32) -> Option<usize> {
    let table = tables.gnu_hash;
    // SAFETY: the layout of DT_GNU_HASH: four words, the filter, the buckets, the chains.
    let (buckets, first, filter_len, shift) = unsafe {
        (word::<u32>(table, 0), word::<u32>(table, 1), word::<u32>(table, 2), word::<u32>(table, 3))
    };
    if buckets == 0 || filter_len == 0 {
        return None;
    }
    let filter = table + 16;
    // SAFETY: reduced to the filter's length.
    let bits: u64 = unsafe { word(filter, (hash / 64 % filter_len) as usize) };
    if bits >> (hash % 64) & bits >> (hash.wrapping_shr(shift) % 64) & 1 == 0 {
        return None;
    }
    let bucket_table = filter + filter_len as usize * 8;
    let chains = bucket_table + buckets as usize * 4;
    // SAFETY: reduced to the number of buckets.
    let mut index: u32 = unsafe { word(bucket_table, (hash % buckets) as usize) };
    if index < first {
        return None;
    }
    loop {
        // SAFETY: a chain ends with an odd hash.
        let chained: u32 = unsafe { word(chains, (index - first) as usize) };
        // SAFETY: the chain names symbols of this table.
        if chained | 1 == hash | 1 && unsafe { is_default(tables, index as usize, name) } {
            return Some(index as usize);
        }
        if chained & 1 != 0 {
            return None;
        }
        index += 1;
    }
}

unsafe fn find_by_sysv_hash(tables: &Tables, name: &[u8]) -> Option<usize> {
    let table = tables.sysv_hash;
    // SAFETY: the layout of DT_HASH: two words, the buckets, the chains.
    let buckets: u32 = unsafe { word(table, 0) };
    if buckets == 0 {
        return None;
    }
    // SAFETY: reduced to the number of buckets.
    let mut index: u32 = unsafe { word(table + 8, (sysv_hash(name) % buckets) as usize) };
    while index != 0 {
        // SAFETY: the chain names symbols of this table.
        if unsafe { is_default(tables, index as usize, name) } {
            return Some(index as usize);
        }
        // SAFETY: the chains have one entry for each symbol.
        index = unsafe { word(table + 8 + buckets as usize * 4, index as usize) };
    }
    None
}

/// Whether the symbol has this name, is defined, and is of its default version.
unsafe fn is_default(tables: &Tables, index: usize, name: &[u8]) -> bool {
    // SAFETY: the index comes from the object's own hash table.
    let symbol = unsafe { &*(tables.symbols as *const Symbol).wrapping_add(index) };
    // SAFETY: versions have one entry for each symbol.
    let version: u16 =
        if tables.versions == 0 { 1 } else { unsafe { word(tables.versions, index) } };
    // SAFETY: names are C strings in the object's string table.
    let its_name = unsafe { raw::bytes((tables.strings + symbol.name as usize) as *const u8) };
    symbol.section != 0 && symbol.info >> 4 != 0 && version & 0x8000 == 0 && its_name == name
}

/// An address that is looked up once; racing threads find the same.
pub struct Slot {
    address: AtomicUsize,
}

impl Slot {
    pub const fn new() -> Slot {
        Slot { address: AtomicUsize::new(0) }
    }

    /// The function behind an interposed one, 0 if there is none.
    #[inline]
    pub fn function(&self, name: &[u8]) -> usize {
        self.get(name, find_next)
    }

    /// A variable of libc, 0 if there is none.
    pub fn variable(&self, name: &[u8]) -> usize {
        self.get(name, find_first)
    }

    #[inline]
    fn get(&self, name: &[u8], find: fn(&[u8]) -> usize) -> usize {
        match self.address.load(Ordering::Acquire) {
            0 => {
                let address = find(name);
                self.address.store(address, Ordering::Release);
                address
            }
            address => address,
        }
    }
}

/// What a function answers that is not there.
pub trait LibcAnswer: Copy {
    const MISSING: Self;
    fn is_failure(self) -> bool;
}

impl LibcAnswer for i32 {
    const MISSING: i32 = -1;
    fn is_failure(self) -> bool {
        self < 0
    }
}

impl LibcAnswer for isize {
    const MISSING: isize = -1;
    fn is_failure(self) -> bool {
        self < 0
    }
}

impl LibcAnswer for () {
    const MISSING: () = ();
    fn is_failure(self) -> bool {
        false
    }
}

impl<T> LibcAnswer for *mut T {
    const MISSING: *mut T = core::ptr::null_mut();
    fn is_failure(self) -> bool {
        self.is_null()
    }
}

static ERRNO: Slot = Slot::new();

fn errno_address() -> Option<*mut i32> {
    let address = ERRNO.function(b"__errno_location");
    // SAFETY: libc's function of this name has this signature.
    (address != 0)
        .then(|| unsafe { core::mem::transmute::<usize, extern "C" fn() -> *mut i32>(address)() })
}

pub fn errno() -> u16 {
    // SAFETY: libc's address of the thread's own number.
    errno_address().map_or(0, |at| unsafe { *at } as u16)
}

pub fn set_errno(errno: u16) {
    if let Some(at) = errno_address() {
        // SAFETY: libc's address of the thread's own number.
        unsafe { *at = i32::from(errno) };
    }
}

/// 0, or why the call that gave this answer failed.
pub fn failure<A: LibcAnswer>(answer: A) -> u16 {
    if answer.is_failure() { errno().max(1) } else { 0 }
}
