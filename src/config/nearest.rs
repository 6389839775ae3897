//! Which of several names a mistyped word is most like.
//!
//! By letters alone. Read next: `cli/words.rs`.

/// The name that is most like `word`.
pub fn nearest(word: &str, names: &[&'static str]) -> &'static str {
    let word = word.to_lowercase();
    let begins_alike =
        |name: &str| word.chars().zip(name.chars()).take_while(|(a, b)| a == b).count();
    let rank = |name: &&&str| (distance(&word, name) * 2).saturating_sub(begins_alike(name).min(3));
    names.iter().min_by_key(rank).copied().unwrap_or_default()
}

/// How many letters must be put in, left out, replaced or exchanged with their neighbour.
pub fn distance(from: &str, to: &str) -> usize {
    let from: String = from.chars().take(40).collect();
    strsim::osa_distance(&from, to)
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn distances() {
        for (a, b, expected) in
            [("stats", "stats", 0), ("satts", "stats", 1), ("", "gc", 2), ("stat", "stats", 1)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn names() {
        for (word, meant) in [("maxsize", "max_size"), ("LOG", "log"), ("obsrever", "observer")] {
            assert_eq!(nearest(word, &["max_size", "share", "observer", "log"]), meant);
        }
    }
}
