//! `ccache-storage-http`: values behind an HTTP or HTTPS server which takes PUT (WebDAV, a Bazel cache, many stores).
//!
//! Read next: `web.rs`, `server.rs`.

mod names;
mod server;
mod settings;
mod web;

use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::{Agent, Body};
use url::Url;

use names::{has_folders, name_of};
use server::{Storage, serve};
use settings::{Settings, hex};

/// All of the program.
pub fn main() -> ExitCode {
    serve("ccache-storage-http", Server::open)
}

/// Where a key's value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Below the address, by the key.
    Flat,
    /// The same in directories of two digits.
    Folders,
    /// As Bazel has it: `ac/` leads to `cas/`, where a content stands under its SHA-256.
    Bazel,
}

struct Server {
    agent: Agent,
    /// It ends in a slash, and holds no credentials.
    base: Url,
    layout: Layout,
    headers: Vec<(String, String)>,
}

impl Server {
    fn open(settings: &Settings) -> Result<Server, String> {
        let known = ["layout", "bearer-token", "header"];
        settings.only(&[&known[..], &web::ATTRIBUTES].concat())?;
        let layout = match settings.get("layout") {
            Some("bazel") => Layout::Bazel,
            _ if has_folders(settings)? => Layout::Folders,
            _ => Layout::Flat,
        };
        let mut base = settings.url.clone();
        let mut headers = credentials(&base, settings)?;
        for header in settings.all("header") {
            let (name, value) = header.split_once('=').ok_or("header: write `NAME=VALUE`")?;
            headers.push((name.to_owned(), value.to_owned()));
        }
        let is_bare = base.set_username("").is_ok() && base.set_password(None).is_ok();
        if !is_bare || base.host().is_none() {
            return Err("write `http://HOST/PATH`".into());
        }
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        Ok(Server { agent: web::agent(settings)?, base, layout, headers })
    }

    fn at(&self, below: &str) -> String {
        format!("{}{below}", self.base)
    }

    fn send(&self, method: Method, at: &str, body: &[u8]) -> Result<Response<Body>, String> {
        let mut request = Request::builder().method(method).uri(at);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        web::send(&self.agent, request.body(body).map_err(|_| "a header or the URL is wrong")?)
    }

    fn fetch(&self, at: &str) -> Result<Option<Vec<u8>>, String> {
        let response = self.send(Method::GET, at, &[])?;
        match response.status() {
            StatusCode::OK => web::body(response).map(Some),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                web::discard(response);
                Ok(None)
            }
            _ => Err(web::refused(response)),
        }
    }

    fn is_there(&self, at: &str) -> Result<bool, String> {
        let response = self.send(Method::HEAD, at, &[])?;
        match response.status() {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(true),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(false),
            _ => Err(web::refused(response)),
        }
    }

    fn store(&self, at: &str, value: &[u8]) -> Result<(), String> {
        let mut response = self.send(Method::PUT, at, value)?;
        // A strict WebDAV server wants the directory first.
        if matches!(response.status(), StatusCode::CONFLICT | StatusCode::NOT_FOUND) {
            web::discard(response);
            self.make_directories(at)?;
            response = self.send(Method::PUT, at, value)?;
        }
        web::is_done(response, &[]).map(|_| ())
    }

    /// Makes the directories in which something is to stand, from the outermost; those that are there say so.
    fn make_directories(&self, at: &str) -> Result<(), String> {
        let method = Method::from_bytes(b"MKCOL").map_err(|error| error.to_string())?;
        let host = at.find("://").and_then(|from| Some(from + 3 + at[from + 3..].find('/')?));
        let host = host.ok_or("the URL is wrong")?;
        for (slash, _) in at.match_indices('/').filter(|(slash, _)| *slash > host) {
            let response = self.send(method.clone(), &at[..=slash], &[])?;
            let status = response.status();
            web::discard(response);
            if status.is_server_error() || status == StatusCode::UNAUTHORIZED {
                return Err(format!("MKCOL: HTTP status {}", status.as_u16()));
            }
        }
        Ok(())
    }

    fn address(&self, key: &[u8]) -> String {
        match self.layout {
            Layout::Flat => self.at(&name_of(key, false)),
            Layout::Folders => self.at(&name_of(key, true)),
            Layout::Bazel => self.at(&format!("ac/{}", hex(&Sha256::digest(key)))),
        }
    }
}

/// The header that says who we are.
fn credentials(url: &Url, settings: &Settings) -> Result<Vec<(String, String)>, String> {
    let header = |value| vec![("Authorization".to_owned(), value)];
    if let Some(token) = settings.get("bearer-token") {
        return Ok(header(format!("Bearer {token}")));
    }
    if url.username().is_empty() && url.password().is_none() {
        return Ok(Vec::new());
    }
    let plain = |text: &str| {
        let query = format!("x={}", text.replace('+', "%2B"));
        url::form_urlencoded::parse(query.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    let (user, password) = (plain(url.username()), plain(url.password().unwrap_or_default()));
    let (user, password) = user.zip(password).ok_or("the user or the password is wrong")?;
    Ok(header(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))))
}

impl Storage for Server {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let Some(found) = self.fetch(&self.address(key))? else { return Ok(None) };
        if self.layout != Layout::Bazel {
            return Ok(Some(found));
        }
        let digest = action_result::digest_in(&found).ok_or("an action result of another kind")?;
        let value = self.fetch(&self.at(&format!("cas/{digest}")))?;
        match value {
            Some(value) if hex(&Sha256::digest(&value)) != digest => {
                Err("a content is not that of its name".into())
            }
            value => Ok(value),
        }
    }

    fn put(&self, key: &[u8], value: &[u8], overwrite: bool) -> Result<bool, String> {
        let at = self.address(key);
        if !overwrite && self.is_there(&at)? {
            return Ok(false);
        }
        if self.layout == Layout::Bazel {
            let digest = hex(&Sha256::digest(value));
            self.store(&self.at(&format!("cas/{digest}")), value)?;
            self.store(&at, &action_result::of(&digest, value.len() as u64))?;
        } else {
            self.store(&at, value)?;
        }
        Ok(true)
    }

    fn remove(&self, key: &[u8]) -> Result<bool, String> {
        let response = self.send(Method::DELETE, &self.address(key), &[])?;
        web::is_done(response, &[StatusCode::NOT_FOUND, StatusCode::GONE])
    }

    fn exists(&self, key: &[u8]) -> Result<bool, String> {
        self.is_there(&self.address(key))
    }
}

/// The little of the Remote Execution API's `ActionResult` that is needed: one output file with a digest. The field numbers
/// are those of `build/bazel/remote/execution/v2/remote_execution.proto`.
mod action_result {
    /// `ActionResult.output_files`, `OutputFile.path`, `Digest.hash`: fields of bytes.
    const OUTPUT_FILES: u8 = 2 << 3 | 2;
    const PATH: u8 = 1 << 3 | 2;
    const DIGEST: u8 = 2 << 3 | 2;
    const HASH: u8 = 1 << 3 | 2;
    /// `Digest.size_bytes`, a number.
    const SIZE_BYTES: u8 = 2 << 3;

    /// One that says that the output `value` has this digest.
    pub fn of(digest: &str, len_bytes: u64) -> Vec<u8> {
        let mut message = Vec::new();
        put(&mut message, HASH, digest.as_bytes());
        message.push(SIZE_BYTES);
        put_number(&mut message, len_bytes);
        let mut file = Vec::new();
        put(&mut file, PATH, b"value");
        put(&mut file, DIGEST, &message);
        let mut result = Vec::new();
        put(&mut result, OUTPUT_FILES, &file);
        result
    }

    /// The digest of the first output.
    pub fn digest_in(result: &[u8]) -> Option<String> {
        let digest = field(field(field(result, OUTPUT_FILES)?, DIGEST)?, HASH)?;
        let is_digest = digest.len() == 64 && digest.iter().all(u8::is_ascii_hexdigit);
        is_digest.then(|| String::from_utf8_lossy(digest).into_owned())
    }

    fn put(to: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
        to.push(tag);
        put_number(to, bytes.len() as u64);
        to.extend_from_slice(bytes);
    }

    fn put_number(to: &mut Vec<u8>, mut number: u64) {
        while number > 0x7f {
            to.push(number.to_le_bytes()[0] & 0x7f | 0x80);
            number >>= 7;
        }
        to.push(number.to_le_bytes()[0]);
    }

    fn number(from: &mut &[u8]) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = from.split_first()?;
            *from = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// The bytes of the first field with this tag.
    fn field(mut message: &[u8], wanted: u8) -> Option<&[u8]> {
        while !message.is_empty() {
            let tag = number(&mut message)?;
            let len = match tag & 7 {
                0 => {
                    number(&mut message)?;
                    continue;
                }
                1 => 8,
                2 => usize::try_from(number(&mut message)?).ok()?,
                5 => 4,
                _ => return None,
            };
            let (bytes, rest) = message.split_at_checked(len)?;
            if tag == u64::from(wanted) {
                return Some(bytes);
            }
            message = rest;
        }
        None
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_is_written_is_read() {
            let digest = "ab".repeat(32);
            for len_bytes in [0, 1, 127, 128, 300, u64::MAX] {
                let result = of(&digest, len_bytes);
                assert_eq!(digest_in(&result), Some(digest.clone()));
                for len in 0..70 {
                    assert_eq!(digest_in(&result[..len]), None, "{len} bytes");
                }
            }
            // Other fields before it: an exit code, and metadata.
            let more = [&[4 << 3, 200, 1, 9 << 3 | 2, 2, 1, 1], &of(&digest, 5)[..]].concat();
            assert_eq!(digest_in(&more), Some(digest));
            assert_eq!(digest_in(&of("../../etc", 5)), None);
            assert_eq!(digest_in(&[0xff; 40]), None);
        }
    }
}
