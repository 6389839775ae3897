//! The targets of `fuzz/`, driven at random, by a seed: no panic, no hang, no wrong bytes.

use crate::random::Random;
use crate::tools::{self, say};

#[path = "../../fuzz/targets.rs"]
mod targets;

fn bytes_of(random: &mut Random, len: usize) -> Vec<u8> {
    (0..len).map(|_| random.next().to_le_bytes()[0]).collect()
}

fn times(often: usize) -> usize {
    if tools::long() { often * 50 } else { often }
}

#[test]
fn any_bytes_as_a_record() {
    let seed = Random::seed();
    say(&format!("fuzzing records: seed {seed}"));
    let mut random = Random::new(seed);
    for _ in 0..times(20_000) {
        let len = random.below(2000);
        let mut bytes = bytes_of(&mut random, len);
        // Small numbers, as offsets and counts are.
        for at in (0..bytes.len() & !3).step_by(4) {
            if !random.once_in(4) {
                let small = u32::try_from(random.below(600)).unwrap().to_le_bytes();
                bytes[at..at + 4].copy_from_slice(&small);
            }
        }
        targets::record(&bytes);
    }
}

#[test]
fn any_bytes_over_those_of_a_cache() {
    let seed = Random::seed();
    let mut random = Random::new(seed);
    let mut fixture = targets::Fixture::new();
    fixture.look_everything_up();
    assert_eq!((fixture.hits, fixture.misses), (6, 0), "nothing is damaged yet");
    for _ in 0..times(4000) {
        let len = if random.once_in(3) { 4000 } else { 12 };
        let len = random.below(len);
        fixture.mutate(&bytes_of(&mut random, len));
    }
    say(&format!("fuzzing a cache: seed {seed}, {} hits, {} misses", fixture.hits, fixture.misses));
    assert!(fixture.hits > 1000 && fixture.misses > 1000);
    fixture.look_everything_up();
}
