//! What a reason means, in short: the second column of `docs/outcomes.md`, which is compiled in.
//!
//! Read next: `outcome.rs`, where the names are.

const PAGE: &str = include_str!("../../docs/outcomes.md");

/// The page's second column for `name`, without marks; `None` if it has no such name.
pub fn in_short(name: &str) -> Option<String> {
    let cells = |line: &'static str| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        Some((cells.next()?.strip_prefix('`')?.strip_suffix('`')?, cells.next()?))
    };
    let (_, text) = PAGE.lines().filter_map(cells).find(|(known, _)| *known == name)?;
    Some(text.replace('`', ""))
}

#[cfg(test)]
mod tests {
    use super::in_short;
    use crate::outcome::{InternalError, NotStored, PassReason};

    /// The longest text that fits behind name and count.
    const CHARS_MAX: usize = 42;

    #[test]
    fn every_name_is_explained() {
        let names = PassReason::ALL.iter().map(|reason| reason.name());
        let names = names.chain(NotStored::ALL.iter().map(|reason| reason.name()));
        let names = names.chain(InternalError::ALL.iter().map(|error| error.name()));
        let outcomes =
            ["invocation_hits", "portable_hits", "misses", "passed_through", "tool_failures"];
        for name in names.chain(outcomes) {
            let text = in_short(name).unwrap_or_default();
            assert!(
                (5..=CHARS_MAX).contains(&text.chars().count()) || text == "miss",
                "{name}: {text}"
            );
        }
        assert_eq!(in_short("name"), None);
        assert_eq!(in_short(""), None);
    }
}
