//! The memory functions of the binary, on ranges of all short lengths, apart and overlapping.
//!
//! They are those of this test's binary, too: compiled here, they take the place of libc's.

#[allow(dead_code, reason = "what calls them are the linker's names")]
#[path = "../../src/entry/memory.rs"]
mod functions;

unsafe extern "C" {
    fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
    fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
    fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8;
    fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32;
    fn strlen(string: *const u8) -> usize;
}

const LEN_MAX: usize = 200;

fn byte_at(i: usize) -> u8 {
    u8::try_from(i % 251).unwrap() + 1
}

fn numbered() -> Vec<u8> {
    (0..3 * LEN_MAX).map(byte_at).collect()
}

#[test]
fn memory_is_copied_whole_and_nothing_beside_it_changes() {
    let start = numbered();
    for len in 0..=LEN_MAX {
        for (from, to) in [(0, 300), (1, 302), (300, 3), (10, 11), (10, 9), (10, 40), (90, 43)] {
            let mut expected = start.clone();
            for (i, byte) in expected[to..to + len].iter_mut().enumerate() {
                *byte = byte_at(from + i);
            }
            let mut moved = start.clone();
            let at = moved.as_mut_ptr();
            // SAFETY: both ranges lie in the vector.
            unsafe { memmove(at.wrapping_add(to), at.wrapping_add(from), len) };
            assert!(moved == expected, "{len} bytes moved from {from} to {to}");
            if from.abs_diff(to) < len {
                continue;
            }
            let mut copied = start.clone();
            let at = copied.as_mut_ptr();
            // SAFETY: both ranges lie in the vector and are apart.
            unsafe { memcpy(at.wrapping_add(to), at.wrapping_add(from), len) };
            assert!(copied == expected, "{len} bytes copied from {from} to {to}");
        }
    }
}

#[test]
fn memory_is_set_compared_and_measured() {
    let start = numbered();
    for len in 1..=LEN_MAX {
        let mut set = start.clone();
        let at = set.as_mut_ptr().wrapping_add(7);
        // SAFETY: the range lies in the vector.
        unsafe { memset(at, 0x1ff, len) };
        let is_right = |(i, byte): (usize, &u8)| {
            *byte == if (7..7 + len).contains(&i) { 0xff } else { start[i] }
        };
        assert!(set.iter().enumerate().all(is_right), "{len} bytes set");
        for differs in [0, len / 2, len - 1] {
            let mut other = start.clone();
            other[differs] += 1;
            let (a, b) = (start.as_ptr(), other.as_ptr());
            // SAFETY: both vectors are that long.
            let compare = |a, b| unsafe { memcmp(a, b, len) }.signum();
            let compared = [compare(a, b), compare(b, a), compare(a, a)];
            assert_eq!(compared, [-1, 1, 0], "{len} bytes, {differs}");
        }
        let mut ended = start.clone();
        ended[len] = 0;
        // SAFETY: there is a zero.
        assert_eq!(unsafe { strlen(ended.as_ptr()) }, len);
    }
}
