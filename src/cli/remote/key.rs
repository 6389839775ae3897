//! `ibid remote key [list|show|new|trust|distrust]`: the key that signs what is sent, and the keys whose results are taken.
//!
//! No secret is printed. Trusted keys are the setting `remote_trust`. Read next: `remote/sign.rs`, `docs/remote.md`.

use std::io::{self, Write};

use crate::cli::args::{RemoteKeyAction, RemoteKeyArgs};
use crate::cli::{BAD_USAGE, config as settings, fail};
use crate::config::{Config, Origin, PublicKey, Setting, Trust, is_key_name};
use crate::env;
use crate::remote::sign::Secret;

/// Runs it.
pub fn run(
    config: &Config,
    asked: &RemoteKeyArgs,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<u8> {
    match &asked.action {
        None | Some(RemoteKeyAction::List) => {
            for (what, line) in lines(config) {
                writeln!(stdout, "{what:<12} {line}")?;
            }
            Ok(u8::from(Secret::of(config).is_err()))
        }
        Some(RemoteKeyAction::Show) => match Secret::of(config) {
            Ok(Some(secret)) => {
                writeln!(stdout, "{}", secret.public())?;
                Ok(0)
            }
            Ok(None) => fail(&"there is no key; `ibid remote key new` makes one", stderr),
            Err(why) => fail(&why, stderr),
        },
        Some(RemoteKeyAction::New { name }) => new(config, name.as_deref(), stdout, stderr),
        Some(RemoteKeyAction::Trust { keys }) => trust(config, keys, stderr),
        Some(RemoteKeyAction::Distrust { keys }) => distrust(config, keys, stderr),
    }
}

/// What is signed and trusted, each line behind a word.
pub fn lines(config: &Config) -> Vec<(&'static str, String)> {
    let signs = match Secret::of(config) {
        Ok(Some(secret)) => secret.public().to_string(),
        Ok(None) => "nothing (`ibid remote key new`)".to_owned(),
        Err(why) => format!("nothing, and nothing is sent: {why}"),
    };
    let mut lines = vec![("signs with", signs)];
    match config.remote_trust.keys() {
        None => lines.push(("trusts", "anybody: no signature is needed".to_owned())),
        Some([]) => lines.push(("trusts", "nobody: nothing is fetched".to_owned())),
        Some(keys) => lines.extend(keys.iter().map(|key| ("trusts", key.to_string()))),
    }
    lines
}

fn new(
    config: &Config,
    name: Option<&str>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<u8> {
    let Some(path) = config.key_path() else {
        return fail(&"no place for a key: set HOME or IBID_REMOTE_KEY", stderr);
    };
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = name.unwrap_or(if is_key_name(&host) { &host } else { "key" });
    if !is_key_name(name) {
        writeln!(stderr, "ibid: a name has up to 64 letters, digits and `.`, `_`, `-`, `@`")?;
        return Ok(BAD_USAGE);
    }
    match Secret::create(&path, name) {
        Ok(secret) => {
            writeln!(stdout, "{}", secret.public())?;
            writeln!(stderr, "ibid: what is sent from here is signed with {}", path.display())?;
            Ok(0)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fail(&format_args!("{} is there already, and is kept", path.display()), stderr)
        }
        Err(error) => fail(&format_args!("{}: {error}", path.display()), stderr),
    }
}

fn trust(config: &Config, texts: &[String], stderr: &mut dyn Write) -> io::Result<u8> {
    let mut keys = config.remote_trust.keys().unwrap_or_default().to_vec();
    for text in texts {
        let key = match PublicKey::parse(text) {
            Ok(key) => key,
            Err(why) => {
                writeln!(stderr, "ibid: {why}")?;
                return Ok(BAD_USAGE);
            }
        };
        keys.retain(|known| known.bytes != key.bytes);
        keys.push(key);
    }
    write(config, keys, stderr)
}

fn distrust(config: &Config, texts: &[String], stderr: &mut dyn Write) -> io::Result<u8> {
    let mut keys = config.remote_trust.keys().unwrap_or_default().to_vec();
    for text in texts {
        let bytes = PublicKey::parse(text).ok().map(|key| key.bytes);
        let is_it = |key: &PublicKey| Some(key.bytes) == bytes || key.name == *text;
        if !keys.iter().any(is_it) {
            return fail(&"no trusted key is called so", stderr);
        }
        keys.retain(|key| !is_it(key));
    }
    if keys.is_empty() {
        let advice = "`ibid config unset remote_trust` takes those of anybody";
        writeln!(stderr, "ibid: no key is left: nothing is fetched; {advice}")?;
    }
    write(config, keys, stderr)
}

fn write(config: &Config, keys: Vec<PublicKey>, stderr: &mut dyn Write) -> io::Result<u8> {
    let setting = *Setting::find("remote_trust").expect("it is in the table of settings");
    if config.origin(setting) == Origin::Environment
        || env::get_nonempty(env::IBID_REMOTE_TRUST).is_some()
    {
        return fail(&"IBID_REMOTE_TRUST is set: the keys are to be changed there", stderr);
    }
    settings::set(config, setting, &Trust::Keys(keys).to_string(), stderr)
}
