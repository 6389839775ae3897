//! The dynamic loader's cache, `/etc/ld.so.cache`: what it answers for a name.
//!
//! Only the form that `ldconfig` has written since glibc 2.32 is read; any other, and one that is not sorted as the loader
//! expects, is not understood, and counts by its bytes. Source: glibc's `dl-cache.h`.

use std::cmp::Ordering;
use std::ffi::CStr;

/// Where the loader looks for it.
pub const PATH: &str = "/etc/ld.so.cache";

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEAD_LEN_BYTES: usize = 48;
const ENTRY_LEN_BYTES: usize = 24;
/// What the head says of the byte order: nothing, or little endian.
const BYTE_ORDERS: [u8; 2] = [0, 2];
const EXTENSION_MAGIC: u32 = 0xeaa4_2174;
const SECTION_LEN_BYTES: usize = 16;
/// The section with the names of directories below `glibc-hwcaps`.
const HWCAPS_SECTION: u32 = 1;
/// The upper half of `hwcap` in an entry whose lower half is the number of such a name.
const IS_NUMBERED: u64 = 1 << 30;

/// An understood cache.
#[derive(Debug)]
pub struct LibraryCache<'a> {
    bytes: &'a [u8],
    entries: &'a [u8],
    hwcaps: &'a [u8],
}

impl<'a> LibraryCache<'a> {
    /// Reads a cache; `None` if it is not understood.
    pub fn parse(bytes: &'a [u8]) -> Option<LibraryCache<'a>> {
        let head = bytes.get(..HEAD_LEN_BYTES).filter(|head| head.starts_with(MAGIC))?;
        let count = usize::try_from(number(head, 20)?).ok()?;
        if !BYTE_ORDERS.contains(head.get(28)?) {
            return None;
        }
        let end = count.checked_mul(ENTRY_LEN_BYTES)?.checked_add(HEAD_LEN_BYTES)?;
        let entries = bytes.get(HEAD_LEN_BYTES..end)?;
        let hwcaps = match number(head, 32)? {
            0 => &[],
            at => hwcaps(bytes, usize::try_from(at).ok()?)?,
        };
        let cache = LibraryCache { bytes, entries, hwcaps };
        cache.is_sorted().then_some(cache)
    }

    /// All that the cache has for a name, in its order and for every machine: flags, the hardware that it is for, and the
    /// path, a line for each; empty if nothing. Which of these the loader takes follows from them and from the machine.
    pub fn answer(&self, name: &[u8]) -> Option<Vec<u8>> {
        let mut answer = Vec::new();
        let first = self.first_not_before(name)? * ENTRY_LEN_BYTES;
        for entry in self.entries.get(first..)?.chunks_exact(ENTRY_LEN_BYTES) {
            if compare(self.string(entry, 4)?, name) != Ordering::Equal {
                break;
            }
            let hwcap = u64::from_le_bytes(entry.get(16..24)?.try_into().ok()?);
            let (flags, version) = (number(entry, 0)?, number(entry, 12)?);
            let level = if hwcap >> 32 == IS_NUMBERED {
                let at = usize::try_from(hwcap & 0xffff_ffff).ok()?.checked_mul(4)?;
                self.string(self.hwcaps, at)?
            } else {
                b""
            };
            let number = if level.is_empty() { hwcap } else { 0 };
            answer.extend(format!("{flags:x} {version:x} {number:x} ").bytes());
            for part in [level, b" ", self.string(entry, 8)?, b"\n"] {
                answer.extend(part);
            }
        }
        Some(answer)
    }

    /// Which entry is the first whose name is not before `name` in the table's order, which is the reverse one.
    fn first_not_before(&self, name: &[u8]) -> Option<usize> {
        let (mut low, mut high) = (0, self.entries.len() / ENTRY_LEN_BYTES);
        while low < high {
            let middle = usize::midpoint(low, high);
            let entry = self.entries.get(middle * ENTRY_LEN_BYTES..)?;
            match compare(self.string(entry, 4)?, name) {
                Ordering::Greater => low = middle + 1,
                Ordering::Less | Ordering::Equal => high = middle,
            }
        }
        Some(low)
    }

    /// The string at the offset that `table` holds at `at`.
    fn string(&self, table: &[u8], at: usize) -> Option<&'a [u8]> {
        let from = usize::try_from(number(table, at)?).ok()?;
        Some(CStr::from_bytes_until_nul(self.bytes.get(from..)?).ok()?.to_bytes())
    }

    /// The loader halves its way through the names: in another order it would not find all.
    fn is_sorted(&self) -> bool {
        let mut before: Option<&[u8]> = None;
        self.entries.chunks_exact(ENTRY_LEN_BYTES).all(|entry| {
            let Some(name) = self.string(entry, 4) else { return false };
            before.replace(name).is_none_or(|before| compare(before, name) != Ordering::Less)
        })
    }
}

/// The offsets of the names of hardware levels.
fn hwcaps(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let extension = bytes.get(at..)?;
    if number(extension, 0)? != EXTENSION_MAGIC {
        return None;
    }
    let count = usize::try_from(number(extension, 4)?).ok()?;
    let sections = extension.get(8..)?.get(..count.checked_mul(SECTION_LEN_BYTES)?)?;
    for section in sections.chunks_exact(SECTION_LEN_BYTES) {
        if number(section, 0)? == HWCAPS_SECTION {
            let from = usize::try_from(number(section, 8)?).ok()?;
            let len = usize::try_from(number(section, 12)?).ok()?;
            return bytes.get(from..)?.get(..len);
        }
    }
    Some(&[])
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The loader's order of names: runs of digits count as numbers, and come after all else.
fn compare(mut one: &[u8], mut other: &[u8]) -> Ordering {
    loop {
        match (one.split_first(), other.split_first()) {
            (None, None) => return Ordering::Equal,
            (None, Some((b, _))) => return 0.cmp(&b.cast_signed()),
            (Some((a, _)), None) if a.is_ascii_digit() => return Ordering::Greater,
            (Some((a, _)), None) => return a.cast_signed().cmp(&0),
            (Some((a, rest_of_one)), Some((b, rest_of_other))) => {
                match (a.is_ascii_digit(), b.is_ascii_digit()) {
                    (true, true) => {
                        let (first, after_one) = leading_number(one);
                        let (second, after_other) = leading_number(other);
                        if first != second {
                            return first.wrapping_sub(second).cmp(&0);
                        }
                        (one, other) = (after_one, after_other);
                    }
                    (true, false) => return Ordering::Greater,
                    (false, true) => return Ordering::Less,
                    (false, false) if a != b => return a.cast_signed().cmp(&b.cast_signed()),
                    (false, false) => (one, other) = (rest_of_one, rest_of_other),
                }
            }
        }
    }
}

/// The number that a name begins with, as the loader computes it, and what follows.
fn leading_number(name: &[u8]) -> (i32, &[u8]) {
    let end = name.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(name.len());
    let (digits, rest) = name.split_at(end);
    let add = |sum: i32, digit: &u8| {
        sum.wrapping_mul(10).wrapping_add(i32::from(*digit)).wrapping_sub(i32::from(b'0'))
    };
    (digits.iter().fold(0, add), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_as_the_loader_does() {
        for (one, other, order) in [
            ("libc.so.6", "libc.so.6", Ordering::Equal),
            ("libz.so.1", "libc.so.6", Ordering::Greater),
            ("liba.so.10", "liba.so.9", Ordering::Greater),
            ("liba.so.010", "liba.so.10", Ordering::Equal),
            ("liba.so", "liba.so.1", Ordering::Less),
            ("lib1.so", "liba.so", Ordering::Greater),
            ("liba-b.so", "liba.so", Ordering::Less),
        ] {
            assert_eq!(compare(one.as_bytes(), other.as_bytes()), order, "{one} {other}");
            assert_eq!(compare(other.as_bytes(), one.as_bytes()), order.reverse());
        }
    }

    /// What `ldconfig -p` lists is what is found here.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test may ask ldconfig")]
    fn the_cache_of_this_machine() {
        let (Ok(bytes), Ok(listed)) =
            (std::fs::read(PATH), std::process::Command::new("/sbin/ldconfig").arg("-p").output())
        else {
            return;
        };
        let cache = LibraryCache::parse(&bytes).expect("it is understood");
        let listed = String::from_utf8(listed.stdout).expect("text");
        let mut count = 0;
        for line in listed.lines().skip(1).filter(|line| line.contains(" => ")) {
            let (left, path) = line.split_once(" => ").expect("it has been looked for");
            let name = left.split_whitespace().next().expect("a name");
            let answer = cache.answer(name.as_bytes()).expect("it is whole");
            let answer = String::from_utf8(answer).expect("text");
            let is_there = |line: &str| line.ends_with(&format!(" {path}"));
            assert!(answer.lines().any(is_there), "{name} {path}: {answer}");
            count += 1;
        }
        assert!(count > 10, "{listed}");
        assert_eq!(cache.answer(b"libnone.so.1"), Some(Vec::new()));
    }

    #[test]
    fn damage_is_not_understood() {
        let Ok(bytes) = std::fs::read(PATH) else { return };
        for len in [0, 20, 47, 48, 60] {
            assert!(LibraryCache::parse(&bytes[..len]).is_none());
        }
        // Two names that have changed places.
        let mut swapped = bytes.clone();
        let last = HEAD_LEN_BYTES + (swapped[20] as usize | (swapped[21] as usize) << 8) * 24 - 24;
        for at in 0..ENTRY_LEN_BYTES {
            swapped.swap(HEAD_LEN_BYTES + at, last + at);
        }
        assert!(LibraryCache::parse(&swapped).is_none());
    }
}
