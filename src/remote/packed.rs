//! The bytes of a value as they stand in a storage: a head with a digest, then what was compressed.
//!
//! Nothing of it is believed: what does not decompress to just what the head says is damage. Signatures are looked at first,
//! where only trusted keys count. The keys of values are here, too: they hold the layout of the cache, so that other versions
//! never meet. Read next: `fetch.rs`, `sign.rs`, `store/export_format.rs`.

use std::io::{Cursor, Read};

use bytemuck::{Pod, Zeroable};

use super::protocol::VALUE_BYTES_MAX;
use super::sign::{Seal, Secret, is_trusted};
use crate::config::Trust;
use crate::shm::layout::DIRECTORY;
use crate::store::path_set::PathSet;

/// First bytes of a value.
const MAGIC: [u8; 8] = *b"ibidPAK2";
/// How hard is compressed: uploads are not waited for, but several builders share a machine.
const LEVEL: i32 = 3;
/// The most path sets that one value holds.
pub const SETS_PER_SLOT: usize = 16;
/// How many values with path sets a content key has.
pub const SLOTS: u8 = 4;

/// The head of a value.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Head {
    magic: [u8; 8],
    /// What it holds: [`Kind`].
    kind: u64,
    /// The length of what was compressed.
    len_bytes: u64,
    /// Its BLAKE3.
    digest: [u8; 32],
    /// The signature of a result. Path sets have one each.
    seal: Seal,
}

/// What a value holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Path sets of a content key.
    PathSets = 1,
    /// A record with what it gives, as an export has it.
    Result = 2,
}

/// A key in a storage.
pub type Key = [u8; 32];

fn key(namespace: &str, kind: Kind, of: &[u8; 16], slot: u8) -> Key {
    let mut hasher = blake3::Hasher::new_derive_key("ibid 2 key of a value in a remote storage");
    for part in [DIRECTORY.as_bytes(), namespace.as_bytes()] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.update(&[kind as u8, slot]);
    hasher.update(of);
    *hasher.finalize().as_bytes()
}

/// The key of the path sets of a content key.
pub fn slot_key(namespace: &str, content_key: &[u8; 16], slot: u8) -> Key {
    key(namespace, Kind::PathSets, content_key, slot)
}

/// The key of a result.
pub fn result_key(namespace: &str, result_key: &[u8; 16]) -> Key {
    key(namespace, Kind::Result, result_key, 0)
}

/// Packs a result for its key; `None` if it is too long.
pub fn pack_result(key: &Key, bytes: &[u8], signer: Option<&Secret>) -> Option<Vec<u8>> {
    pack(Kind::Result, bytes, |digest| signer.map_or(Seal::NONE, |signer| signer.seal(key, digest)))
}

fn pack(kind: Kind, bytes: &[u8], seal: impl FnOnce(&[u8; 32]) -> Seal) -> Option<Vec<u8>> {
    let len_bytes = Some(bytes.len() as u64).filter(|len| *len <= VALUE_BYTES_MAX)?;
    let digest = *blake3::hash(bytes).as_bytes();
    let head = Head { magic: MAGIC, kind: kind as u64, len_bytes, digest, seal: seal(&digest) };
    let mut packed = bytemuck::bytes_of(&head).to_vec();
    packed.extend(zstd::bulk::compress(bytes, LEVEL).ok()?);
    Some(packed)
}

/// Why a value is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is something else, or not what was packed.
    Damaged,
    /// No trusted key has signed it for this place.
    Untrusted,
}

/// What was packed as the result of a key.
pub fn unpack_result(key: &Key, packed: &[u8], trust: &Trust) -> Result<Vec<u8>, Refusal> {
    let (head, body) = head_of(Kind::Result, packed).ok_or(Refusal::Damaged)?;
    if !is_trusted(trust, &head.seal, key, &head.digest) {
        return Err(Refusal::Untrusted);
    }
    unpack(&head, body).ok_or(Refusal::Damaged)
}

/// Whether a packed result is whole and has a signature that our own may not improve upon.
pub fn is_accepted(signer: &Secret, trust: &Trust, key: &Key, packed: &[u8]) -> bool {
    head_of(Kind::Result, packed).is_some_and(|(head, body)| {
        signer.accepts(trust, &head.seal, key, &head.digest) && unpack(&head, body).is_some()
    })
}

fn head_of(kind: Kind, packed: &[u8]) -> Option<(Head, &[u8])> {
    let (head, body) = packed.split_at_checked(size_of::<Head>())?;
    let head: Head = bytemuck::pod_read_unaligned(head);
    let is_right =
        head.magic == MAGIC && head.kind == kind as u64 && head.len_bytes <= VALUE_BYTES_MAX;
    is_right.then_some((head, body))
}

fn unpack(head: &Head, body: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let decoder = zstd::stream::read::Decoder::new(Cursor::new(body)).ok()?;
    // It grows with what comes, not with what the head says.
    decoder.take(head.len_bytes + 1).read_to_end(&mut bytes).ok()?;
    let is_whole =
        bytes.len() as u64 == head.len_bytes && *blake3::hash(&bytes).as_bytes() == head.digest;
    is_whole.then_some(bytes)
}

/// A path set and the signature that it has for its content key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedSet {
    /// The set.
    pub set: PathSet,
    /// [`Seal::NONE`] if nobody has signed it.
    pub seal: Seal,
}

impl SignedSet {
    /// Signs a set. `key` is that of the content key's first slot, in whichever slot the set is.
    pub fn new(set: PathSet, key: &Key, signer: Option<&Secret>) -> SignedSet {
        let seal = signer.map_or(Seal::NONE, |signer| signer.seal(key, &digest_of(&set)));
        SignedSet { set, seal }
    }

    /// Whether its names may be looked at.
    pub fn is_trusted(&self, trust: &Trust, key: &Key) -> bool {
        is_trusted(trust, &self.seal, key, &digest_of(&self.set))
    }

    /// Whether it takes no other signature.
    pub fn is_accepted(&self, signer: Option<&Secret>, trust: &Trust, key: &Key) -> bool {
        signer.is_none_or(|signer| signer.accepts(trust, &self.seal, key, &digest_of(&self.set)))
    }
}

fn digest_of(set: &PathSet) -> [u8; 32] {
    *blake3::hash(&set.encode()).as_bytes()
}

/// Path sets of a content key, the newest last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slot {
    /// The sets.
    pub sets: Vec<SignedSet>,
    /// Whether there are results that serve one place, and results that serve all.
    pub serves: [bool; 2],
}

impl Slot {
    /// Its bytes: what its results serve, then each set behind its signature and its length.
    pub fn pack(&self) -> Option<Vec<u8>> {
        let mut bytes = self.serves.map(u8::from).to_vec();
        for SignedSet { set, seal } in &self.sets {
            let encoded = set.encode();
            bytes.extend(bytemuck::bytes_of(seal));
            bytes.extend(u32::try_from(encoded.len()).ok()?.to_le_bytes());
            bytes.extend(encoded);
        }
        pack(Kind::PathSets, &bytes, |_| Seal::NONE)
    }

    /// The slot of a value; `None` if that is damaged.
    pub fn unpack(packed: &[u8]) -> Option<Slot> {
        let (head, body) = head_of(Kind::PathSets, packed)?;
        let bytes = unpack(&head, body)?;
        let (serves, mut rest) = bytes.split_first_chunk::<2>()?;
        let mut slot = Slot { sets: Vec::new(), serves: serves.map(|byte| byte != 0) };
        while !rest.is_empty() {
            let (seal, after) = rest.split_first_chunk::<{ size_of::<Seal>() }>()?;
            let (len, after) = after.split_first_chunk()?;
            let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
            let (set, after) = after.split_at_checked(len)?;
            let seal = bytemuck::pod_read_unaligned(seal);
            slot.sets.push(SignedSet { set: PathSet::decode(set)?, seal });
            rest = after;
        }
        (slot.sets.len() <= SETS_PER_SLOT).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::draft::Draft;

    const KEY: Key = [9; 32];

    fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
        pack_result(&KEY, bytes, None)
    }

    fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
        unpack_result(&KEY, packed, &Trust::Anybody).ok()
    }

    #[test]
    fn what_is_packed_is_unpacked_and_nothing_else_is() {
        let bytes = b"some text, some text, some text".repeat(50);
        let packed = pack(&bytes).expect("packed");
        assert!(packed.len() < bytes.len() / 5);
        assert_eq!(unpack(&packed), Some(bytes));
        assert_eq!(Slot::unpack(&packed), None);
        for len in 0..packed.len() {
            assert_eq!(unpack(&packed[..len]), None, "{len} bytes");
        }
        for at in 0..packed.len() {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x55;
            // A bit that zstd does not read changes nothing.
            let read = unpack(&damaged);
            assert!(read.is_none() || read == unpack(&packed), "byte {at}");
        }
        assert_eq!(unpack(&pack(b"").expect("packed")), Some(vec![]));
    }

    #[test]
    fn a_head_that_promises_less_or_more() {
        let packed = pack(&[7; 1000]).expect("packed");
        for len_bytes in [0, 999, 1001, VALUE_BYTES_MAX, VALUE_BYTES_MAX + 1, u64::MAX] {
            let mut wrong = packed.clone();
            wrong[16..24].copy_from_slice(&len_bytes.to_le_bytes());
            assert_eq!(unpack(&wrong), None, "{len_bytes}");
        }
    }

    #[test]
    fn slots() {
        let (set, _) = PathSet::of(&Draft::default(), |variable| variable.value);
        for (count, is_right) in
            [(0, true), (3, true), (SETS_PER_SLOT, true), (SETS_PER_SLOT + 1, false)]
        {
            let set = SignedSet::new(set.clone(), &KEY, None);
            let slot = Slot { sets: vec![set; count], serves: [true, false] };
            let read = Slot::unpack(&slot.pack().expect("packed"));
            assert_eq!(read, is_right.then_some(slot));
        }
        let cut = [&[1, 0][..], bytemuck::bytes_of(&Seal::NONE), &[9, 0, 0, 0, 1]].concat();
        let cut = super::pack(Kind::PathSets, &cut, |_| Seal::NONE).expect("packed");
        assert_eq!(Slot::unpack(&cut), None);
    }

    #[test]
    fn keys_are_apart() {
        let keys = [
            slot_key("", &[1; 16], 0),
            slot_key("", &[1; 16], 1),
            slot_key("", &[2; 16], 0),
            slot_key("n", &[1; 16], 0),
            result_key("", &[1; 16]),
            result_key("n", &[1; 16]),
        ];
        let mut different = keys.to_vec();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), keys.len());
    }
}
