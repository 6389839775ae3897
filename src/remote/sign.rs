//! Signatures of values (Ed25519), and the key with which this machine makes them.
//!
//! A signature covers the key under which a value stands, and so its namespace, its kind and the layout of the cache: moved
//! to another place it is of no use. The secret key is in a file that only its user can read, and in nothing that is shown.
//! Read next: `packed.rs`, `config/trust.rs`, `docs/remote.md`.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine};
use bytemuck::{Pod, Zeroable};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustix::fs::OFlags;

use super::client::Failure;
use crate::config::{Config, PublicKey, SECRET_PREFIX, Trust, is_key_name};
use crate::shm::raw;

/// What is signed begins so: a signature of another program's is none here.
const CONTEXT: &[u8; 32] = b"ibid 1 value in a remote storage";
/// A longer file holds no key.
const FILE_BYTES_MAX: u64 = 1024;

/// A signature and who made it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Seal {
    /// The public key.
    pub signer: [u8; 32],
    /// The signature.
    pub signature: [[u8; 32]; 2],
}

impl Seal {
    /// That of a value which nobody has signed.
    pub const NONE: Seal = Seal { signer: [0; 32], signature: [[0; 32]; 2] };
}

/// What is signed: the key of a value, and the digest of what it holds.
fn message(key: &[u8; 32], digest: &[u8; 32]) -> [u8; 96] {
    let mut message = [0; 96];
    for (part, bytes) in message.chunks_exact_mut(32).zip([CONTEXT, key, digest]) {
        part.copy_from_slice(bytes);
    }
    message
}

/// Whether a value may be used: from anybody, or because a trusted key has signed it.
pub fn is_trusted(trust: &Trust, seal: &Seal, key: &[u8; 32], digest: &[u8; 32]) -> bool {
    let Some(keys) = trust.keys() else { return true };
    keys.iter().any(|known| known.bytes == seal.signer) && is_signed(seal, key, digest)
}

/// Whether the key that a seal names has made it.
fn is_signed(seal: &Seal, key: &[u8; 32], digest: &[u8; 32]) -> bool {
    let signature = seal.signature.as_flattened();
    UnparsedPublicKey::new(&ED25519, &seal.signer).verify(&message(key, digest), signature).is_ok()
}

/// The key with which this machine signs. It has no `Debug`.
pub struct Secret {
    public: PublicKey,
    key: Ed25519KeyPair,
}

impl Secret {
    /// The key of these settings; `None` if there is none. One that others can read, or that cannot be read, is refused:
    /// then nothing is sent.
    pub fn of(config: &Config) -> Result<Option<Secret>, Failure> {
        let Some(path) = config.key_path() else { return Ok(None) };
        match Secret::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound && config.remote_key.is_none() => {
                Ok(None)
            }
            Err(error) => Err(Failure(format!("the key {}: {error}", path.display()))),
            Ok(secret) => Ok(Some(secret)),
        }
    }

    fn read(path: &Path) -> io::Result<Secret> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        let state = file.metadata()?;
        if !state.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        if state.uid() != raw::user() {
            return Err(io::Error::other("it belongs to another user"));
        }
        if state.mode() & 0o077 != 0 {
            return Err(io::Error::other("others can use it: chmod 600"));
        }
        let mut text = String::new();
        let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
        let secret = read.ok().and_then(|_| Secret::parse(text.trim_end()));
        secret.ok_or_else(|| io::Error::other("it holds no secret key"))
    }

    fn parse(text: &str) -> Option<Secret> {
        let (name, seed) = text.strip_prefix(SECRET_PREFIX)?.split_once(':')?;
        let seed: [u8; 32] = BASE64_STANDARD.decode(seed).ok()?.try_into().ok()?;
        Secret::new(name, &seed).filter(|_| is_key_name(name))
    }

    fn new(name: &str, seed: &[u8; 32]) -> Option<Secret> {
        let key = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let bytes = key.public_key().as_ref().try_into().ok()?;
        Some(Secret { public: PublicKey { name: name.to_owned(), bytes }, key })
    }

    /// Makes a key and writes it to a file that is not there yet.
    pub fn create(path: &Path, name: &str) -> io::Result<Secret> {
        let mut seed = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut seed)?;
        let secret = Secret::new(name, &seed).ok_or_else(|| io::Error::other("no key"))?;
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        let text = format!("{SECRET_PREFIX}{name}:{}\n", BASE64_STANDARD.encode(seed));
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.inspect_err(|_| drop(fs::remove_file(path)))?;
        Ok(secret)
    }

    /// Its public part.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a value.
    pub fn seal(&self, key: &[u8; 32], digest: &[u8; 32]) -> Seal {
        let mut seal = Seal { signer: self.public.bytes, ..Seal::NONE };
        let signature = self.key.sign(&message(key, digest));
        // Both are 64 bytes.
        seal.signature.as_flattened_mut().copy_from_slice(signature.as_ref());
        seal
    }

    /// Whether a value needs no other signature than the one that it has.
    pub fn accepts(&self, trust: &Trust, seal: &Seal, key: &[u8; 32], digest: &[u8; 32]) -> bool {
        let is_known = seal.signer == self.public.bytes
            || trust.keys().is_some_and(|keys| keys.iter().any(|it| it.bytes == seal.signer));
        is_known && is_signed(seal, key, digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> Secret {
        Secret::new("n", &[byte; 32]).expect("a key")
    }

    #[test]
    fn a_signature_covers_key_and_content() {
        let (ours, other) = (secret(1), secret(2));
        let trust = Trust::Keys(vec![ours.public().clone()]);
        let seal = ours.seal(&[3; 32], &[4; 32]);
        assert!(is_trusted(&trust, &seal, &[3; 32], &[4; 32]));
        assert!(!is_trusted(&trust, &seal, &[5; 32], &[4; 32]), "another place");
        assert!(!is_trusted(&trust, &seal, &[3; 32], &[5; 32]), "another content");
        assert!(!is_trusted(&trust, &Seal::NONE, &[3; 32], &[4; 32]), "no signature");
        assert!(!is_trusted(&Trust::NOBODY, &seal, &[3; 32], &[4; 32]));
        assert!(is_trusted(&Trust::Anybody, &Seal::NONE, &[3; 32], &[4; 32]));
        let others = other.seal(&[3; 32], &[4; 32]);
        assert!(!is_trusted(&trust, &others, &[3; 32], &[4; 32]), "another key");
        let claimed = Seal { signer: seal.signer, ..others };
        assert!(!is_trusted(&trust, &claimed, &[3; 32], &[4; 32]), "another's name");
        for bit in 0..96 * 8 {
            let mut forged = seal;
            bytemuck::bytes_of_mut(&mut forged)[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_trusted(&trust, &forged, &[3; 32], &[4; 32]), "bit {bit}");
        }
    }

    /// RFC 8032, 7.1, the first test: the key that belongs to a secret.
    #[test]
    fn a_known_key() {
        let hex = |text: &str| -> [u8; 32] {
            let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
            (0..64).step_by(2).map(byte).collect::<Vec<_>>().try_into().expect("32 bytes")
        };
        let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let public = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let text = format!("{SECRET_PREFIX}n:{}", BASE64_STANDARD.encode(seed));
        assert_eq!(Secret::parse(&text).expect("a key").public().bytes, public);
    }

    #[test]
    fn files_of_keys() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("below/key");
        assert_eq!(Secret::read(&path).err().map(|error| error.kind()), Some(ErrorKind::NotFound));
        let made = Secret::create(&path, "ci").expect("made");
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode));
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert_eq!(Secret::read(&path).expect("read").public(), made.public());
        assert!(Secret::create(&path, "ci").is_err(), "a key that is there stays");
        for bits in [0o640, 0o604, 0o620, 0o601] {
            mode(bits).expect("changed");
            let why = Secret::read(&path).err().expect("refused").to_string();
            assert!(why.contains("others can use it"), "{bits:o}: {why}");
        }
        mode(0o400).expect("changed");
        assert!(Secret::read(&path).is_ok());
        let why = Secret::read(directory.path()).err().expect("refused").to_string();
        assert!(why.contains("it is no file"), "{why}");
        mode(0o600).expect("changed");
        let text = fs::read_to_string(&path).expect("read");
        for wrong in [&text[..text.len() - 4], &text[1..], "", &made.public().to_string()] {
            fs::write(&path, wrong).expect("written");
            let why = Secret::read(&path).err().expect("refused").to_string();
            assert_eq!(why, "it holds no secret key");
        }
        fs::write(&path, [0xff; 5000]).expect("written");
        assert!(Secret::read(&path).is_err());
    }
}
