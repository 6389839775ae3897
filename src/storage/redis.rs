//! `ccache-storage-redis`: values in a Redis server, or one that speaks as it does, over TCP, TLS or a unix socket.
//!
//! Read next: `server.rs`.

mod server;
mod settings;

use std::fs;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::{Client, Cmd, Connection, ErrorKind, FromRedisValue, RedisError, TlsCertificates, cmd};

use server::{Storage, serve};
use settings::{Settings, hex};

fn main() -> ExitCode {
    serve("ccache-storage-redis", Server::open)
}

struct Server {
    client: Client,
    /// Connections that nobody uses just now.
    idle: Mutex<Vec<Connection>>,
    /// What stands before each key.
    prefix: String,
    connect: Duration,
    operation: Duration,
    /// After so many seconds without being written a value may go.
    expire_s: Option<u64>,
}

impl Server {
    fn open(settings: &Settings) -> Result<Server, String> {
        let known = ["ca-file", "connect-timeout", "operation-timeout", "prefix", "expire", "db"];
        settings.only(&known)?;
        let mut url = settings.url.clone();
        if let Some(db) = settings.get("db") {
            url.query_pairs_mut().append_pair("db", db);
        }
        let client = match settings.get("ca-file") {
            None => Client::open(url),
            Some(path) => {
                let pem = fs::read(path).map_err(|error| format!("ca-file: {path}: {error}"))?;
                Client::build_with_tls(
                    url,
                    TlsCertificates { client_tls: None, root_cert: Some(pem) },
                )
            }
        };
        let client = client.map_err(|error| short(&error))?;
        let expire = settings.get("expire").map(str::parse).transpose();
        Ok(Server {
            client,
            idle: Mutex::default(),
            prefix: settings.get("prefix").unwrap_or_default().to_owned(),
            connect: settings.time("connect-timeout", 2_000)?,
            operation: settings.time("operation-timeout", 10_000)?,
            expire_s: expire.map_err(|_| "expire: write a number of seconds")?,
        })
    }

    fn key(&self, key: &[u8]) -> String {
        format!("{}{}", self.prefix, hex(key))
    }

    fn connect(&self) -> Result<Connection, RedisError> {
        let connection = self.client.get_connection_with_timeout(self.connect)?;
        connection.set_read_timeout(Some(self.operation))?;
        connection.set_write_timeout(Some(self.operation))?;
        Ok(connection)
    }

    fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, String> {
        self.try_ask(command).map_err(|error| short(&error))
    }

    /// Asks on a connection that is there, and once more on a new one if the server has closed that.
    fn try_ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(connection) = idle {
            match self.ask_on(connection, command) {
                Err(error) if error.is_connection_dropped() => {}
                answered => return answered,
            }
        }
        self.ask_on(self.connect()?, command)
    }

    fn ask_on<T: FromRedisValue>(
        &self,
        mut connection: Connection,
        command: &Cmd,
    ) -> Result<T, RedisError> {
        let answer = command.query(&mut connection);
        // What comes late must not be the answer to another question.
        let is_usable = match &answer {
            Ok(_) => true,
            Err(error) => !error.is_io_error() && !error.is_timeout(),
        };
        if is_usable {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        answer
    }
}

/// An error without what the server was told.
fn short(error: &RedisError) -> String {
    match error.kind() {
        _ if error.is_timeout() => "timeout".into(),
        ErrorKind::Io => {
            error.to_string().lines().next().unwrap_or("the connection failed").to_owned()
        }
        ErrorKind::AuthenticationFailed => "the credentials are refused".into(),
        ErrorKind::InvalidClientConfig => "the URL is wrong".into(),
        _ => error
            .code()
            .map_or_else(|| error.category().to_owned(), |code| format!("server error {code}")),
    }
}

impl Storage for Server {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.ask(cmd("GET").arg(self.key(key)))
    }

    fn put(&self, key: &[u8], value: &[u8], overwrite: bool) -> Result<bool, String> {
        let mut command = cmd("SET");
        command.arg(self.key(key)).arg(value);
        if !overwrite {
            command.arg("NX");
        }
        if let Some(expire_s) = self.expire_s {
            command.arg("EX").arg(expire_s);
        }
        let stored: Option<String> = self.ask(&command)?;
        Ok(stored.is_some())
    }

    fn remove(&self, key: &[u8]) -> Result<bool, String> {
        let removed: u64 = self.ask(cmd("DEL").arg(self.key(key)))?;
        Ok(removed > 0)
    }

    fn exists(&self, key: &[u8]) -> Result<bool, String> {
        let found: u64 = self.ask(cmd("EXISTS").arg(self.key(key)))?;
        Ok(found > 0)
    }
}
