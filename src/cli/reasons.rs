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

/// The page's third column for `name`, as a terminal shows it; `None` if it has no such name.
pub fn what_to_do(name: &str) -> Option<String> {
    let cells = |line: &'static str| {
        let mut cells = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim);
        Some((cells.next()?.strip_prefix('`')?.strip_suffix('`')?, cells.nth(1)?))
    };
    let (_, text) = PAGE.lines().filter_map(cells).find(|(known, _)| *known == name)?;
    Some(without_links(text))
}

/// A link to a page becomes the page's path.
fn without_links(text: &str) -> String {
    let mut parts = text.split('[');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let page = part.split_once("](").and_then(|(_, rest)| rest.split_once(')'));
        let (before, page, rest) =
            page.map_or(("[", part, ""), |(page, rest)| ("docs/", page, rest));
        for piece in [before, page, rest] {
            plain.push_str(piece);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{in_short, what_to_do};
    use crate::outcome::{Cause, InternalError, NotStored, PassReason};

    /// The longest text that fits behind name and count.
    const CHARS_MAX: usize = 42;

    #[test]
    fn every_name_is_explained() {
        let names = PassReason::ALL.iter().map(|reason| reason.name());
        let names = names.chain(NotStored::ALL.iter().map(|reason| reason.name()));
        let names = names.chain(InternalError::ALL.iter().map(|error| error.name()));
        let names = names.chain(Cause::ALL.iter().map(|cause| cause.name()));
        let outcomes =
            ["invocation_hits", "portable_hits", "misses", "passed_through", "tool_failures"];
        for name in names.chain(outcomes) {
            let text = in_short(name).unwrap_or_default();
            assert!(
                (5..=CHARS_MAX).contains(&text.chars().count()) || text == "miss",
                "{name}: {text}"
            );
        }
        let moved = what_to_do("other_directory").unwrap_or_default();
        assert!(moved.ends_with("show the directory (docs/places.md)"), "{moved}");
        assert_eq!(what_to_do("used_network").as_deref(), Some("nothing"));
        assert!(Cause::ALL.iter().all(|cause| what_to_do(cause.name()).is_some()));
        assert_eq!(what_to_do("name"), None);
        assert_eq!(in_short("name"), None);
        assert_eq!(in_short(""), None);
    }
}
