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
    let (from, to): (Vec<char>, Vec<char>) =
        (from.chars().take(40).collect(), to.chars().collect());
    let mut rows = vec![(0..=to.len()).collect::<Vec<_>>()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(a != b);
            let mut least = replaced.min(row[j] + 1).min(rows[i][j + 1] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
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
