//! Storages that tests start, and machines that use them: each has a cache, a home and a runtime directory of its own.
//!
//! What a machine leaves running is ended with it. Read next: `remote.rs`, `remote_faults.rs`.

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Deref;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ibid::remote::protocol::{Answer, Greeting, Request};
use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::cache::Cache;
use crate::tools;

/// How long a server may take to come up; then the test is wrong, not slow.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whether the helpers are built beside ibid. Otherwise the test that asks is to return.
pub fn have_helpers() -> bool {
    if cfg!(feature = "remote") {
        return true;
    }
    tools::skip("built without `--features remote`");
    false
}

/// A directory as a storage, and its address.
pub fn directory() -> Option<(TempDir, String)> {
    have_helpers().then(|| {
        let directory = tempfile::tempdir().unwrap();
        let remote = format!("file://{}", directory.path().display());
        (directory, remote)
    })
}

/// Where a tool of the Python Package Index is: see CONTRIBUTING.md.
pub fn from_index(name: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/remote-tools/bin").join(name);
    if own.is_file() {
        return Some(own);
    }
    assert!(std::env::var_os("CI").is_none(), "{name} is missing, and under CI that is a failure");
    tools::skip(&format!("{name} is not in target/remote-tools"));
    None
}

/// The helper of a scheme.
pub fn helper(scheme: &str) -> PathBuf {
    tools::ibid().with_file_name(format!("ccache-storage-{scheme}"))
}

/// A machine of its own.
pub struct Machine(Cache);

impl Deref for Machine {
    type Target = Cache;
    fn deref(&self) -> &Cache {
        &self.0
    }
}

impl Machine {
    /// One that uses these storages. What a noisy machine takes to answer does not count.
    pub fn new(remote: &str) -> Machine {
        let remote: Vec<_> =
            remote.split(';').map(|one| format!("{one} max-loss=600000")).collect();
        Machine::impatient(&remote.join(";"))
    }

    /// One that waits as long as the setting says.
    pub fn impatient(remote: &str) -> Machine {
        Machine(Cache::new().with("IBID_REMOTE", remote))
    }

    pub fn with(mut self, name: &str, value: &str) -> Machine {
        self.0.set(name, value);
        self
    }

    /// The line of `ibid remote status` that begins so.
    #[track_caller]
    pub fn status(&self, begin: &str) -> String {
        let done = self.ibid(["remote", "status"]).output().unwrap();
        let text = String::from_utf8(done.stdout).unwrap();
        let line = text.lines().find(|line| line.trim_start().starts_with(begin));
        line.unwrap_or_else(|| panic!("{begin}: {text}")).to_owned()
    }

    /// All that waits is sent.
    #[track_caller]
    pub fn flush(&self) {
        assert_eq!(self.say(&["remote", "flush"]), "nothing waits to be sent\n");
    }

    /// The sockets of the helpers that it has started.
    pub fn sockets(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root().join("runtime/ibid"));
        let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
        paths.filter(|path| path.extension().is_some_and(|end| end == "socket")).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for socket in self.sockets() {
            stop(&socket);
        }
        // What sends ends soon when nothing waits.
        let started = Instant::now();
        while started.elapsed() < PATIENCE && self.sends() {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Machine {
    fn sends(&self) -> bool {
        let user = rustix::process::geteuid().as_raw();
        let directories = fs::read_dir(self.dir()).into_iter().flatten().flatten();
        let locks = directories.map(|it| it.path().join(format!("remote-sender-{user}")));
        let is_held = |file: &fs::File| {
            rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).is_err()
        };
        locks.filter_map(|path| fs::File::open(path).ok()).any(|file| is_held(&file))
    }
}

/// Says stop to a helper, if it listens.
pub fn stop(socket: &Path) {
    let Ok(mut stream) = UnixStream::connect(socket) else { return };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let _ = Greeting::read(&mut stream);
    let _ = Request::Stop.write(&mut stream);
    let _ = Answer::<()>::read(&mut stream);
}

/// A server that a test has started; it ends with it.
pub struct Server {
    child: Child,
    pub directory: TempDir,
    pub port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        // A parent that is killed would leave its children.
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
        let started = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if started.elapsed() > PATIENCE {
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A port that nobody uses just now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    /// Starts what `command` gives for a directory and a port, and waits until it takes connections.
    pub fn start(command: impl Fn(&Path, u16) -> Command) -> Server {
        let started = Instant::now();
        loop {
            let directory = tempfile::Builder::new().prefix("ibid-server-").tempdir().unwrap();
            let port = free_port();
            let child = command(directory.path(), port)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut server = Server { child, directory, port };
            // Another test may have taken the port.
            while server.child.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return server;
                }
                assert!(started.elapsed() < PATIENCE, "no server at {port}");
                thread::sleep(Duration::from_millis(10));
            }
            assert!(started.elapsed() < PATIENCE, "the server does not start");
        }
    }

    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }
}

/// A certificate for `localhost` in a directory, and that of its own authority: `ca.pem`, `cert.pem`, `key.pem`.
fn certify(directory: &Path) {
    let openssl = |args: &[&str]| {
        let done = Command::new("openssl").args(args).current_dir(directory).output().unwrap();
        assert!(done.status.success(), "{args:?}: {done:?}");
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let request = |more: &[&str]| openssl(&[&["req"][..], &key, more].concat());
    request(&["-x509", "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem"]);
    request(&["-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "request.pem"]);
    fs::write(directory.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    let sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"];
    let files = ["-in", "request.pem", "-out", "cert.pem", "-days", "2"];
    openssl(&[&["x509", "-req"][..], &sign, &files].concat());
}

/// nginx as a WebDAV server.
pub fn nginx() -> Option<Server> {
    nginx_with(false)
}

/// The same behind TLS, with a certificate of its own authority, which is `ca.pem` in its directory.
pub fn nginx_tls() -> Option<Server> {
    tools::have("openssl").then(|| nginx_with(true)).flatten()
}

fn nginx_with(tls: bool) -> Option<Server> {
    let nginx = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|it| Path::new(it).exists());
    let modules = "/usr/lib/nginx/modules/ngx_http_dav_ext_module.so";
    let Some(nginx) = nginx.filter(|_| Path::new(modules).exists()) else {
        tools::have("nginx with libnginx-mod-http-dav-ext");
        return None;
    };
    Some(Server::start(|directory, port| {
        let at = |name: &str| directory.join(name).display().to_string();
        fs::create_dir(directory.join("data")).unwrap();
        let user = if tools::is_root() { "user root;" } else { "" };
        let mut secure = String::new();
        if tls {
            certify(directory);
            let (cert, key) = (at("cert.pem"), at("key.pem"));
            secure = format!("ssl_certificate {cert}; ssl_certificate_key {key};");
        }
        let listen = if tls { format!("{port} ssl") } else { port.to_string() };
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|name| format!("{name}_temp_path {};", at(name))).join(" ");
        let text = format!(
            "load_module {modules}; {user} daemon off; pid {}; error_log {};\n\
             events {{}}\n\
             http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{listen}; {secure} root {}; client_max_body_size 0;\n\
             location / {{ dav_methods PUT DELETE MKCOL; dav_ext_methods PROPFIND; create_full_put_path on; }} }} }}\n",
            at("pid"),
            at("errors"),
            at("data"),
        );
        fs::write(directory.join("nginx.conf"), text).unwrap();
        let mut command = Command::new(nginx);
        command.arg("-c").arg(directory.join("nginx.conf")).arg("-p").arg(directory);
        command
    }))
}

/// Apache, which makes no directory that was not asked for.
pub fn apache() -> Option<Server> {
    let apache = Path::new("/usr/sbin/apache2");
    if !apache.exists() {
        tools::have("apache2");
        return None;
    }
    Some(Server::start(|directory, port| {
        let at = |name: &str| directory.join(name).display().to_string();
        fs::create_dir(directory.join("data")).unwrap();
        for name in [directory.to_path_buf(), directory.join("data")] {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(name, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let modules = ["mpm_event", "authz_core", "dav", "dav_fs"].map(|name| {
            format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
        });
        let user = if tools::is_root() { "User nobody\nGroup nogroup\n" } else { "" };
        let text = format!(
            "{user}ServerName localhost\nServerRoot {}\nPidFile {}\nErrorLog {}\nListen 127.0.0.1:{port}\n{}\
             DavLockDB {}\nDocumentRoot {}\n<Directory {}>\nDav On\nRequire all granted\n</Directory>\n",
            directory.display(),
            at("pid"),
            at("errors"),
            modules.concat(),
            at("locks"),
            at("data"),
            at("data"),
        );
        fs::write(directory.join("httpd.conf"), text).unwrap();
        let mut command = Command::new(apache);
        command.arg("-DFOREGROUND").arg("-f").arg(directory.join("httpd.conf"));
        command
    }))
}

/// Redis, also at the socket `redis` in its directory.
pub fn redis() -> Option<Server> {
    redis_with(false)
}

/// The same behind TLS, as [`nginx_tls`].
pub fn redis_tls() -> Option<Server> {
    tools::have("openssl").then(|| redis_with(true)).flatten()
}

fn redis_with(tls: bool) -> Option<Server> {
    if !tools::have("redis-server") {
        return None;
    }
    Some(Server::start(|directory, port| {
        let mut command = Command::new("redis-server");
        let mut port = port.to_string();
        if tls {
            certify(directory);
            command.args(["--tls-port", &port, "--tls-auth-clients", "no"]);
            for (option, name) in
                [("ca-cert-file", "ca.pem"), ("cert-file", "cert.pem"), ("key-file", "key.pem")]
            {
                command.arg(format!("--tls-{option}")).arg(directory.join(name));
            }
            port = "0".into();
        }
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(directory).arg("--unixsocket").arg(directory.join("redis"));
        command
    }))
}

/// The keys of the S3 servers here.
pub const S3_KEYS: [&str; 2] = ["ibidtestkey", "ibidtestsecret"];

/// SeaweedFS with an S3 server, in which there is the bucket `bucket`.
pub fn seaweed() -> Option<Server> {
    let weed = from_index("weed")?;
    let filer = Cell::new(0);
    let server = Server::start(|directory, port| {
        let [key, secret] = S3_KEYS;
        let identity = format!(
            "{{\"identities\":[{{\"name\":\"t\",\"credentials\":[{{\"accessKey\":\"{key}\",\"secretKey\":\"{secret}\"}}],\
             \"actions\":[\"Admin\",\"Read\",\"Write\",\"List\"]}}]}}"
        );
        fs::write(directory.join("s3.json"), identity).unwrap();
        let mut command = Command::new(&weed);
        let option = |name: &str, value: String| format!("-{name}={value}");
        command.arg("server").arg(option("dir", directory.display().to_string()));
        command.args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-volume.max=20"]);
        command.arg("-master.volumeSizeLimitMB=64");
        for part in ["master", "volume", "filer"] {
            // The servers talk to each other at a second port, 10,000 higher.
            let own = free_port() % 20_000 + 20_000;
            command.arg(option(&format!("{part}.port"), own.to_string()));
            filer.set(own);
        }
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
        let grpc = free_port().to_string();
        command.arg(option("s3.port", port.to_string())).arg(option("s3.port.grpc", grpc));
        command.arg(option("s3.config", directory.join("s3.json").display().to_string()));
        command.current_dir(directory);
        command
    });
    make_bucket(filer.get());
    Some(server)
}

/// Makes the bucket, and waits until that works: the servers find each other one by one.
fn make_bucket(filer: u16) {
    let started = Instant::now();
    let made = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", filer))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"POST /buckets/bucket/ HTTP/1.0\r\nContent-Length: 0\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(answer.ends_with(b" 201"))
    };
    while !made().unwrap_or(false) {
        assert!(started.elapsed() < PATIENCE, "the bucket cannot be made");
        thread::sleep(Duration::from_millis(100));
    }
}
