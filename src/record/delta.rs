//! A record that is told by another one: what is copied from that, and what is new.
//!
//! A result that was found by content is written again with today's stamps. Most of that record is as in the one that was found:
//! a delta says which. It is true of the very bytes of that record, which its sum tells. Who writes deltas: `store/delta.rs`.

use bytemuck::{Pod, Zeroable};

/// The head of a delta. After it: the steps of the hot part, those of the cold part, then the literal bytes of both.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct DeltaHead {
    /// Where the base stands, as `Place::number` has it.
    pub base: u64,
    /// XXH3-128 of the base's hot part.
    pub base_sum: [u8; 16],
    /// The length of the hot part that comes of it.
    pub hot_bytes: u32,
    /// The length of the cold part that comes of it.
    pub cold_bytes: u32,
    /// How many steps make the hot part.
    pub hot_steps: u32,
    /// How many steps make the cold part.
    pub cold_steps: u32,
}

/// Bytes that come next.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Step {
    /// Where they stand in the base's part of that kind; [`LITERAL`]: the next ones of the literal bytes.
    pub at: u32,
    /// How many they are.
    pub len: u32,
}

/// What stands for a place in the base if the bytes are in the delta.
pub const LITERAL: u32 = u32::MAX;

const HEAD_BYTES: usize = size_of::<DeltaHead>();
const STEP_BYTES: usize = size_of::<Step>();

/// A delta, read in place.
#[derive(Debug, Clone, Copy)]
pub struct Delta<'a> {
    /// The head.
    pub head: DeltaHead,
    steps: &'a [u8],
    literals: &'a [u8],
}

impl<'a> Delta<'a> {
    /// The delta in `bytes`; `None` if they are too short.
    pub fn read(bytes: &'a [u8]) -> Option<Delta<'a>> {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let head: DeltaHead = bytemuck::try_pod_read_unaligned(head).ok()?;
        let count = (head.hot_steps as usize).checked_add(head.cold_steps as usize)?;
        let (steps, literals) = rest.split_at_checked(count.checked_mul(STEP_BYTES)?)?;
        Some(Delta { head, steps, literals })
    }

    /// Makes the hot part of the base's.
    pub fn hot(&self, base: &[u8], into: &mut [u8]) -> Option<()> {
        apply(self.steps().take(self.head.hot_steps as usize), base, self.literals, into)
    }

    /// Makes the cold part of the base's.
    pub fn cold(&self, base: &[u8], into: &mut [u8]) -> Option<()> {
        let of_hot = self.steps().take(self.head.hot_steps as usize);
        let literals = of_hot.filter(|step| step.at == LITERAL);
        let before: usize = literals.map(|step| step.len as usize).sum();
        let steps = self.steps().skip(self.head.hot_steps as usize);
        apply(steps, base, self.literals.get(before..)?, into)
    }

    fn steps(&self) -> impl Iterator<Item = Step> + use<'a> {
        self.steps.chunks_exact(STEP_BYTES).map(bytemuck::pod_read_unaligned)
    }
}

/// Fills `into`, all of it and no more.
fn apply(
    steps: impl Iterator<Item = Step>,
    base: &[u8],
    mut literals: &[u8],
    mut into: &mut [u8],
) -> Option<()> {
    for step in steps {
        let len = step.len as usize;
        let from = if step.at == LITERAL {
            let (from, rest) = literals.split_at_checked(len)?;
            literals = rest;
            from
        } else {
            base.get(step.at as usize..)?.get(..len)?
        };
        let (here, rest) = into.split_at_mut_checked(len)?;
        here.copy_from_slice(from);
        into = rest;
    }
    into.is_empty().then_some(())
}

const _: () = assert!(HEAD_BYTES == 40);
