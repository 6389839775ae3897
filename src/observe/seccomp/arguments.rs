//! The arguments of a system call: words, and numbers in the memory of the process that makes it.

use crate::os::watch::{Asked, read_memory};

/// An argument of 32 bits.
#[allow(clippy::cast_possible_truncation, reason = "the kernel reads 32 bits of it, too")]
pub fn word(argument: u64) -> u32 {
    argument as u32
}

/// Numbers in memory, of a structure that begins at an address.
pub fn numbers<const N: usize>(asked: &Asked, address: u64) -> Option<[u64; N]> {
    let mut bytes = vec![0; N * 8];
    if read_memory(asked.thread, address, &mut bytes) != Ok(bytes.len()) {
        return None;
    }
    let mut numbers = [0; N];
    for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
        *number = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    }
    Some(numbers)
}
