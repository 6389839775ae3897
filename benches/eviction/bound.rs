//! What no policy can exceed: seconds saved by one that knows the future.

use std::collections::HashMap;

use super::trace::Entry;

/// Microseconds saved at most in a cache of `max_bytes`. Between two uses a result occupies its bytes for as many look-ups as lie
/// between; a cache has so much of that in all. What saves most for what it occupies comes first. The cache may be fuller
/// than `max_bytes` at times, so this is above what can be had (PFOO-L of Berger, Beckmann, Harchol-Balter, "Practical
/// Bounds on Optimal Caching with Variable Object Sizes", 2018, with costs in the place of hits).
pub fn saved_us(row: &[Entry], max_bytes: u64) -> u64 {
    let mut last: HashMap<usize, usize> = HashMap::new();
    let mut uses: Vec<(u128, u64)> = Vec::new();
    for (now, entry) in row.iter().enumerate() {
        if let Some(before) = last.insert(entry.id, now) {
            uses.push((u128::from(entry.bytes) * (now - before) as u128, entry.cost_us));
        }
    }
    let worth = |(area, cost_us): &(u128, u64)| *cost_us as f64 / (*area).max(1) as f64;
    uses.sort_by(|a, b| worth(b).total_cmp(&worth(a)));
    let mut left = u128::from(max_bytes) * row.len() as u128;
    let mut saved_us = 0;
    for (area, cost_us) in uses {
        let part = if area <= left { 1.0 } else { left as f64 / area as f64 };
        saved_us += (cost_us as f64 * part) as u64;
        left = left.saturating_sub(area);
    }
    saved_us
}
