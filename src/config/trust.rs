//! Whose results are taken from storages: public keys as people write them, a name, a colon and 32 bytes in Base64.
//!
//! No signature is verified here. What cannot be understood trusts nobody. Read next: `remote/sign.rs`, `docs/remote.md`.

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine};

/// How the text of a secret key begins: it is never a value of a setting.
pub const SECRET_PREFIX: &str = "ibid-secret-key:";
/// The longest name of a key.
const NAME_BYTES_MAX: usize = 64;

/// A key that tells whether a signature was made by the machine that has its secret part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// What people call it; it proves nothing.
    pub name: String,
    /// The key.
    pub bytes: [u8; 32],
}

impl PublicKey {
    /// The key of a text. Nothing of a text that is refused is repeated: it may be a secret.
    pub fn parse(text: &str) -> Result<PublicKey, String> {
        if text.starts_with(SECRET_PREFIX) {
            return Err("this is a secret key; `ibid remote key show` prints the public one".into());
        }
        let refused =
            || "no public key, such as `NAME:BASE64` of `ibid remote key show`".to_owned();
        let (name, key) = text.split_once(':').ok_or_else(refused)?;
        let bytes = BASE64_STANDARD.decode(key).ok().and_then(|bytes| bytes.try_into().ok());
        let bytes = bytes.filter(|_| is_name(name)).ok_or_else(refused)?;
        Ok(PublicKey { name: name.to_owned(), bytes })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, BASE64_STANDARD.encode(self.bytes))
    }
}

/// Whether a key may be called so.
pub fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(is_part)
}

/// Whose results are taken from storages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those of anybody who can write to the storage.
    Anybody,
    /// Those that one of these keys has signed; without any, none.
    Keys(Vec<PublicKey>),
}

impl Trust {
    /// No result is taken.
    pub const NOBODY: Trust = Trust::Keys(Vec::new());

    /// `anybody`, `nobody`, or keys.
    pub fn parse(text: &str) -> Result<Trust, String> {
        match text.trim() {
            "anybody" => Ok(Trust::Anybody),
            "nobody" => Ok(Trust::NOBODY),
            text => text
                .split_whitespace()
                .map(PublicKey::parse)
                .collect::<Result<_, _>>()
                .map(Trust::Keys),
        }
    }

    /// The keys; `None` if anybody is trusted.
    pub fn keys(&self) -> Option<&[PublicKey]> {
        match self {
            Trust::Anybody => None,
            Trust::Keys(keys) => Some(keys),
        }
    }
}

/// As [`Trust::parse`] takes it.
impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trust::Anybody => f.write_str("anybody"),
            Trust::Keys(keys) if keys.is_empty() => f.write_str("nobody"),
            Trust::Keys(keys) => {
                let keys: Vec<_> = keys.iter().map(PublicKey::to_string).collect();
                f.write_str(&keys.join(" "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let key = |name: &str, byte| PublicKey { name: name.into(), bytes: [byte; 32] };
        for trust in [
            Trust::Anybody,
            Trust::NOBODY,
            Trust::Keys(vec![key("ci", 7)]),
            Trust::Keys(vec![key("a.b_c-d@e", 0), key("X", 255)]),
        ] {
            assert_eq!(Trust::parse(&format!(" {trust}\n")), Ok(trust));
        }
        assert_eq!(Trust::parse(""), Ok(Trust::NOBODY));
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        let whole = PublicKey { name: "n".into(), bytes: [9; 32] }.to_string();
        let long = format!("{}{whole}", "n".repeat(64));
        let secret = format!("{SECRET_PREFIX}{whole}");
        for text in [
            &whole[2..],
            &whole[1..],
            &whole[..whole.len() - 1],
            &whole[..10],
            &long,
            &secret,
            "a b",
            "anyone",
            "n:",
            "ä:AAAA",
        ] {
            let why = Trust::parse(text).expect_err(text);
            assert!(!why.contains(&whole[2..12]) && why.lines().count() == 1, "{text}: {why}");
        }
        let two = format!("{whole} nobody");
        assert!(Trust::parse(&two).is_err());
    }
}
