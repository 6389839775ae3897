//! Which CPU this is, for the few results that depend on it (`-march=native`).
//!
//! `cpuid` costs about 8 us on a virtual machine: only records that say they need it ask.

/// A hash of what the CPU says of itself: vendor, family, model, stepping and features.
#[cfg(target_arch = "x86_64")]
pub fn identity() -> u64 {
    use core::arch::x86_64::__cpuid_count;
    let mut text = [0u8; 16 * 8];
    let leaves = [
        (0u32, 0u32),
        (1, 0),
        (7, 0),
        (7, 1),
        (0x8000_0001, 0),
        (0x8000_0002, 0),
        (0x8000_0003, 0),
        (0x8000_0004, 0),
    ];
    for (place, (leaf, sub)) in text.chunks_exact_mut(16).zip(leaves) {
        let r = __cpuid_count(leaf, sub);
        // Bits 24..32 of leaf 1's ebx are the number of the core on which we happen to run.
        let ebx = if leaf == 1 { r.ebx & 0x00ff_ffff } else { r.ebx };
        for (part, value) in place.chunks_exact_mut(4).zip([r.eax, ebx, r.ecx, r.edx]) {
            part.copy_from_slice(&value.to_le_bytes());
        }
    }
    xxhash_rust::xxh3::xxh3_64(&text)
}

/// A constant: elsewhere the identity is not known before libc starts.
#[cfg(not(target_arch = "x86_64"))]
pub fn identity() -> u64 {
    0
}
