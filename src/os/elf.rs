//! What an ELF file says of itself: whether the loader runs it, for which machine, and which objects it wants.
//!
//! Needs `core` only and trusts no byte of the file: the preload shim compiles this file too. Sizes, types and tags are
//! those of the System V ABI (gabi, chapters 4 and 5) and of `<elf.h>`.

/// Something that can be read at an offset, a file for instance.
pub trait ReadAt {
    /// Reads as many bytes as there are, up to the slice's length; 0 on any error.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> usize;
}

#[cfg(feature = "std")]
impl ReadAt for std::fs::File {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> usize {
        std::os::unix::fs::FileExt::read_at(self, into, offset).unwrap_or(0)
    }
}

/// Whether a file begins as programs and shared objects do; false if it cannot be read.
#[cfg(feature = "std")]
pub fn is_elf(path: &std::path::Path) -> bool {
    let mut head = [0; MAGIC.len()];
    std::fs::File::open(path).is_ok_and(|file| file.read_at(0, &mut head) == head.len())
        && head == *MAGIC
}

/// What `look` finds in an ELF file; `None` if it cannot be read, or is none of our class and byte order.
#[cfg(feature = "std")]
pub fn inspect<T>(
    path: &std::path::Path,
    look: impl FnOnce(&Elf<'_, std::fs::File>) -> T,
) -> Option<T> {
    let file = std::fs::File::open(path).ok()?;
    let head = read_head(&file).ok()?;
    Elf::parse(&file, &head).map(|elf| look(&elf))
}

/// A file's first bytes, as [`preloading`] and [`Elf::parse`] take them.
#[cfg(feature = "std")]
pub fn read_head(file: &std::fs::File) -> std::io::Result<std::vec::Vec<u8>> {
    use std::io::Read as _;
    let mut head = std::vec::Vec::with_capacity(HEAD_LEN_BYTES);
    file.take(HEAD_LEN_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Whether a preloaded object can live in a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preloading {
    /// The loader will map it.
    Possible,
    /// A script: its interpreter decides. The range of the interpreter's path in the file's first bytes.
    Script {
        /// Where the path begins.
        start: usize,
        /// Where it ends.
        end: usize,
    },
    /// Neither a script nor an ELF file.
    Unknown,
    /// Not possible, in words.
    Impossible(&'static str),
}

/// A tag of the dynamic section whose value is a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// An object that is wanted.
    Needed,
    /// Where wanted objects are looked for, before `LD_LIBRARY_PATH`.
    Rpath,
    /// Where they are looked for after it.
    Runpath,
    /// The object's own name.
    Soname,
    /// An object that is loaded by other rules: a filter or an auditor.
    Loads,
}

/// How an ELF file begins.
pub const MAGIC: &[u8; 4] = b"\x7fELF";
/// How much of a file's start is looked at.
pub const HEAD_LEN_BYTES: usize = 2048;

const PROGRAM_HEADER_LEN_BYTES: usize = 56;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const LOADS_MAX: usize = 16;
/// A string that is as long may be longer.
pub const STRING_LEN_MAX: usize = 1024;

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const MACHINE: u16 = 0;

const SANITIZER_LIBRARIES: [&[u8]; 6] =
    [b"libasan.", b"libtsan.", b"libubsan.", b"liblsan.", b"libhwasan.", b"libclang_rt."];
const SANITIZER_SYMBOLS: [&[u8]; 5] =
    [b"__asan_init", b"__tsan_init", b"__msan_init", b"__lsan_init", b"__hwasan_init"];

/// The hash of DT_GNU_HASH tables.
pub fn gnu_hash(name: &[u8]) -> u32 {
    name.iter().fold(5381_u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(u32::from(*byte)))
}

/// The hash of DT_HASH tables.
pub fn sysv_hash(name: &[u8]) -> u32 {
    name.iter().fold(0_u32, |hash, byte| {
        let hash = (hash << 4).wrapping_add(u32::from(*byte));
        let high = hash & 0xf000_0000;
        (hash ^ high >> 24) & !high
    })
}

/// Whether bytes are a 64-bit object, program or library none of whose sections is compressed, or has an `unreadable` name.
#[cfg(feature = "std")]
pub fn is_plain(bytes: &[u8], unreadable: impl Fn(&[u8]) -> bool) -> bool {
    const COMPRESSED: u64 = 1 << 11;
    let is_plain = |name: &[u8], header: &[u8]| {
        (u64_at(header, 8)? & COMPRESSED == 0 && !unreadable(name)).then_some(())
    };
    each_section(bytes, is_plain).is_some()
}

/// Visits all sections of a 64-bit file: what begins with the name, and the header. `None` if that is no such file, or once
/// a visit gives that.
#[cfg(feature = "std")]
fn each_section<'b>(
    bytes: &'b [u8],
    mut visit: impl FnMut(&'b [u8], &'b [u8]) -> Option<()>,
) -> Option<()> {
    const HEADER_LEN_BYTES: usize = 64;
    let is_known = bytes.starts_with(b"\x7fELF\x02\x01")
        && u16_at(bytes, 58).map(usize::from) == Some(HEADER_LEN_BYTES);
    let headers = bytes.get(usize::try_from(u64_at(bytes, 40)?).ok().filter(|_| is_known)?..)?;
    // Numbers that do not fit stand in the first section: how many there are, and which has the names.
    let count = match u16_at(bytes, 60)? {
        0 => usize::try_from(u64_at(headers, 32)?).ok()?,
        count => usize::from(count),
    };
    let names = match u16_at(bytes, 62)? {
        0xffff => usize::try_from(u32_at(headers, 40)?).ok()?,
        number => usize::from(number),
    };
    let names = headers.get(names.checked_mul(HEADER_LEN_BYTES)?..)?;
    let names = bytes.get(usize::try_from(u64_at(names, 24)?).ok()?..)?;
    let headers = headers.get(..count.checked_mul(HEADER_LEN_BYTES)?)?;
    headers.chunks(HEADER_LEN_BYTES).try_for_each(|header| {
        visit(names.get(usize::try_from(u32_at(header, 0)?).ok()?..)?, header)
    })
}

/// The bytes of the section of this name in a 64-bit file; `None` if it has none.
#[cfg(feature = "std")]
pub fn section<'b>(bytes: &'b [u8], name: &[u8]) -> Option<&'b [u8]> {
    let mut found = None;
    each_section(bytes, |section_name, header| {
        if section_name.strip_prefix(name).is_some_and(|rest| rest.first() == Some(&0)) {
            found = Some((u64_at(header, 24)?, u64_at(header, 32)?));
        }
        Some(())
    })?;
    let (at, len) = found?;
    bytes.get(usize::try_from(at).ok()?..)?.get(..usize::try_from(len).ok()?)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[derive(Clone, Copy, Default)]
struct Load {
    address: u64,
    offset: u64,
    len: u64,
}

/// An ELF file of our class and byte order.
pub struct Elf<'a, R> {
    file: &'a R,
    machine: u16,
    loads: [Load; LOADS_MAX],
    dynamic: Option<(u64, u64)>,
    interpreter: Option<(u64, u64)>,
}

impl<'a, R: ReadAt> Elf<'a, R> {
    /// Reads the program headers; `head` holds the file's first bytes.
    pub fn parse(file: &'a R, head: &[u8]) -> Option<Elf<'a, R>> {
        if !head.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let table = u64_at(head, 32)?;
        let entry_len = u64::from(u16_at(head, 54)?);
        let machine = u16_at(head, 18)?;
        let mut elf =
            Elf { file, machine, loads: Default::default(), dynamic: None, interpreter: None };
        let mut loads = 0;
        for index in 0..u64::from(u16_at(head, 56)?) {
            let at = table.checked_add(index.checked_mul(entry_len)?)?;
            // An optimiser that works on whole programs puts the table at their end.
            let mut far = [0; PROGRAM_HEADER_LEN_BYTES];
            let near = usize::try_from(at).ok().and_then(|at| head.get(at..)?.first_chunk());
            let entry = match near {
                Some(near) => near,
                None if file.read_at(at, &mut far) == far.len() => &far,
                None => return None,
            };
            let range = (u64_at(entry, 8)?, u64_at(entry, 32)?);
            match u32_at(entry, 0)? {
                PT_LOAD => {
                    let address = u64_at(entry, 16)?;
                    *elf.loads.get_mut(loads)? = Load { address, offset: range.0, len: range.1 };
                    loads += 1;
                }
                PT_DYNAMIC => elf.dynamic = Some(range),
                PT_INTERP => elf.interpreter = Some(range),
                _ => {}
            }
        }
        Some(elf)
    }

    /// The path of the loader, without its zero byte.
    pub fn interpreter<'b>(&self, into: &'b mut [u8; 256]) -> Option<&'b [u8]> {
        let (offset, len) = self.interpreter?;
        let len = usize::try_from(len).ok()?.min(into.len());
        let read = self.file.read_at(offset, into.get_mut(..len)?);
        into.get(..read)?.split(|byte| *byte == 0).next()
    }

    fn offset(&self, address: u64) -> Option<u64> {
        let inside = |load: &&Load| address >= load.address && address - load.address < load.len;
        let load = self.loads.iter().find(inside)?;
        load.offset.checked_add(address - load.address)
    }

    /// Calls `each` for every entry of the dynamic section until it answers `false`.
    fn dynamic(&self, mut each: impl FnMut(u64, u64) -> bool) {
        let Some((mut offset, len)) = self.dynamic else { return };
        let end = offset.saturating_add(len.min(16 * 512));
        let mut block = [0; 512];
        while offset < end {
            let read = self.file.read_at(offset, &mut block) & !15;
            for entry in block[..read].chunks_exact(16) {
                let tag = u64_at(entry, 0).unwrap_or(0);
                if tag == 0 || offset >= end || !each(tag, u64_at(entry, 8).unwrap_or(0)) {
                    return;
                }
                offset += 16;
            }
            if read == 0 {
                return;
            }
        }
    }

    fn dynamic_value(&self, wanted: u64) -> Option<u64> {
        let mut found = None;
        self.dynamic(|tag, value| {
            if tag == wanted {
                found = Some(value);
            }
            found.is_none()
        });
        found
    }

    /// Calls `each` for the object's name, every wanted object and search path until it answers `false`.
    pub fn strings(&self, mut each: impl FnMut(Tag, &[u8]) -> bool) {
        let Some(table) = self.dynamic_value(5).and_then(|address| self.offset(address)) else {
            return;
        };
        let mut text = [0; STRING_LEN_MAX];
        self.dynamic(|tag, value| {
            let tag = match tag {
                1 => Tag::Needed,
                15 => Tag::Rpath,
                29 => Tag::Runpath,
                14 => Tag::Soname,
                0x7fff_fffd | 0x7fff_ffff | 0x6fff_fefb | 0x6fff_fefc => Tag::Loads,
                _ => return true,
            };
            let read = self.file.read_at(table.saturating_add(value), &mut text);
            each(tag, text[..read].split(|byte| *byte == 0).next().unwrap_or(b""))
        });
    }

    /// Whether the file's dynamic symbols, those that it wants among them, may include one of these names; each with a zero
    /// byte on both sides.
    #[cfg(feature = "std")]
    pub fn mentions(&self, names: &[&[u8]]) -> bool {
        const TABLE_LEN_MAX: u64 = 64 << 20;
        let table = self.dynamic_value(5).and_then(|address| self.offset(address));
        let len = self.dynamic_value(10).filter(|len| *len <= TABLE_LEN_MAX);
        let (Some(table), Some(len)) = (table, len.and_then(|len| usize::try_from(len).ok()))
        else {
            return true;
        };
        let mut text = vec![0; len];
        let read = self.file.read_at(table, &mut text);
        names.iter().any(|name| text[..read].windows(name.len()).any(|part| part == *name))
    }

    /// Whether the file defines a dynamic symbol of this name.
    pub fn defines(&self, name: &[u8]) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &[u8]) -> Option<()> {
        let table = self.offset(self.dynamic_value(0x6fff_fef5)?)?;
        let read = |offset: u64| {
            let mut bytes = [0; 16];
            (self.file.read_at(offset, &mut bytes) >= 8).then_some(bytes)
        };
        let head = read(table)?;
        let (buckets, first) = (u32_at(&head, 0)?, u32_at(&head, 4)?);
        let (filter_len, shift) = (u32_at(&head, 8)?, u32_at(&head, 12)?);
        let hash = gnu_hash(name);
        let filter = table.checked_add(16)?;
        let word = hash.checked_div(64)?.checked_rem(filter_len)?;
        let bits = u64_at(&read(filter + u64::from(word) * 8)?, 0)?;
        if bits >> (hash % 64) & bits >> (hash.wrapping_shr(shift) % 64) & 1 == 0 {
            return None;
        }
        let bucket_table = filter + u64::from(filter_len) * 8;
        let chains = bucket_table + u64::from(buckets) * 4;
        let bucket = hash.checked_rem(buckets)?;
        let mut index =
            u32_at(&read(bucket_table + u64::from(bucket) * 4)?, 0)?.checked_sub(first)?;
        for _ in 0..4096 {
            let chained = u32_at(&read(chains + u64::from(index) * 4)?, 0)?;
            if chained | 1 == hash | 1 {
                // Equal in 31 bits and in the filter: a string compare is not worth it for the sanitizers' names.
                return Some(());
            }
            if chained & 1 != 0 {
                return None;
            }
            index = index.checked_add(1)?;
        }
        None
    }
}

/// Whether a preloaded object can live in the program; `head` holds the file's first bytes.
pub fn preloading<R: ReadAt>(file: &R, head: &[u8]) -> Preloading {
    if head.starts_with(b"#!") {
        return script(head);
    }
    if !head.starts_with(MAGIC) {
        return Preloading::Unknown;
    }
    let Some(elf) = Elf::parse(file, head) else {
        return Preloading::Impossible("is of another class or cannot be understood");
    };
    if elf.machine != MACHINE {
        return Preloading::Impossible("is for another machine");
    }
    let mut path = [0; 256];
    let Some(interpreter) = elf.interpreter(&mut path) else {
        return Preloading::Impossible("is static");
    };
    let name = interpreter.rsplit(|byte| *byte == b'/').next().unwrap_or(b"");
    if !name.starts_with(b"ld-linux") {
        return Preloading::Impossible("has a loader that is not glibc's");
    }
    let mut sanitized = false;
    elf.strings(|tag, name| {
        sanitized |= tag == Tag::Needed && SANITIZER_LIBRARIES.iter().any(|l| name.starts_with(l));
        !sanitized
    });
    if sanitized || SANITIZER_SYMBOLS.iter().any(|symbol| elf.defines(symbol)) {
        return Preloading::Impossible("is built with a sanitizer");
    }
    Preloading::Possible
}

/// The interpreter of a script, as the kernel reads it: up to a blank or the line's end, within 256 bytes.
fn script(head: &[u8]) -> Preloading {
    let line = head.get(..head.len().min(256)).unwrap_or(head);
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let rest = line.get(2..).unwrap_or(b"");
    let start = 2 + rest.iter().take_while(|byte| is_blank(byte)).count();
    let path = line.get(start..).unwrap_or(b"");
    let len = path.iter().take_while(|byte| !is_blank(byte) && !matches!(byte, b'\n' | 0)).count();
    if len == 0 { Preloading::Unknown } else { Preloading::Script { start, end: start + len } }
}

/// Whether a shared object may read variables without asking for each by its name: it wants libc's list of them. What
/// cannot be read may.
#[cfg(feature = "std")]
pub fn may_walk_environment(object: &std::path::Path) -> bool {
    const LIST: [&[u8]; 3] = [b"\0environ\0", b"\0__environ\0", b"\0_environ\0"];
    let mut head = [0; HEAD_LEN_BYTES];
    let Ok(file) = std::fs::File::open(object) else { return true };
    let read = file.read_at(0, &mut head);
    head.get(..read).and_then(|head| Elf::parse(&file, head)).is_none_or(|elf| elf.mentions(&LIST))
}
