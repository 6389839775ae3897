//! Two machines share results through each kind of storage, and so do two ccaches, by the same helpers.
//!
//! Read next: `engines.rs`, `remote_faults.rs`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cache::Outcome;
use crate::engines::{self, Machine, S3_KEYS, Server, have_helpers, helper};
use crate::project::Project;
use crate::{rustc, tools};

const SOURCES: &[(&str, &str)] = &[
    ("inc/h.h", "#include <stdio.h>\nstatic inline void say(void) { puts(\"said\"); }\n"),
    ("a.c", "#include \"h.h\"\nint a(void) { int unused; say(); return 1; }\n"),
    ("b.c", "#include \"h.h\"\nint b(void) { say(); return 2; }\n"),
    ("e.c", "int error = nothing;\n"),
    ("m.rs", "pub fn m() -> u32 { 7 }\n"),
    ("a.rs", "mod m;\npub fn a() -> u32 { let unused = 1; m::m() }\n"),
];

/// Compiles of several kinds: text, several outputs, a dependency file, a crate.
fn lines() -> Vec<String> {
    let c = tools::present(tools::C);
    let text = c.iter().map(|tool| format!("{tool} -Wall -g -Iinc -MD -c a.c -o a.o"));
    let short = c.iter().map(|tool| format!("{tool} -O1 -Iinc -c b.c -o b.o"));
    let rust = rustc::toolchain().map(|bin| {
        let tool = bin.join("rustc");
        let options = "--crate-type lib --emit=link,metadata,dep-info --edition 2021";
        format!("{} {options} a.rs", tool.display())
    });
    text.chain(short).chain(rust).collect()
}

/// One machine compiles, the other has it from the storage.
fn shares(remote: &str, variables: &[(&str, &str)]) {
    let machine = || {
        let machine =
            variables.iter().fold(Machine::new(remote), |m, (name, value)| m.with(name, value));
        assert!(machine.status("answers").contains("ccache-storage-"), "{remote}");
        machine
    };
    let project = Project::with(SOURCES);
    let first = machine();
    for line in lines() {
        project.call(&first, &line).check().expect(&Outcome::Miss);
    }
    first.flush();
    let second = machine();
    for line in lines() {
        project.call(&second, &line).check().expect(&Outcome::PortableHit);
        project.call(&second, &line).check().expect_hit();
    }
    let (count, counters) = (lines().len() as u64, second.counters());
    assert_eq!(counters.get("remote_hits"), count);
    assert_eq!(counters.hits(), 2 * count);
    assert_eq!(first.counters().get("remote_hits"), 0);
    // What was changed is new to both, and then known to both.
    project
        .write("inc/h.h", "#include <stdio.h>\nstatic inline void say(void) { puts(\"new\"); }\n");
    let line = &lines()[0];
    project.call(&second, line).check().expect(&Outcome::Miss);
    second.flush();
    project.call(&first, line).check().expect(&Outcome::PortableHit);
    assert_eq!(first.counters().get("remote_hits"), 1);
    assert!(second.say(&["verify"]).contains("nothing is damaged"));
}

#[test]
fn through_a_directory() {
    let Some((_directory, remote)) = engines::directory() else { return };
    shares(&format!("{remote}/new"), &[]);
    shares(&format!("{remote} layout=flat"), &[]);
}

/// A call with several sources is one hit, also if each was fetched by itself.
#[test]
fn several_sources() {
    let Some((_directory, remote)) = engines::directory() else { return };
    let (first, second) = (Machine::new(&remote), Machine::new(&remote));
    let project = Project::with(SOURCES);
    let line = "gcc -O1 -Iinc -c a.c b.c";
    project.call(&first, line).check().expect(&Outcome::Miss);
    first.flush();
    project.call(&second, line).check().expect(&Outcome::PortableHit);
    assert_eq!(second.counters().get("remote_hits"), 1);
    project.call(&second, line).check().expect(&Outcome::InvocationHit);
}

#[test]
fn through_web_servers() {
    if !have_helpers() {
        return;
    }
    for server in [engines::nginx(), engines::apache()].into_iter().flatten() {
        for layout in ["subdirs", "flat", "bazel"] {
            shares(&format!("http://127.0.0.1:{}/{layout}/x layout={layout}", server.port), &[]);
        }
        let data = server.directory.path().join("data/bazel/x");
        assert!(data.join("ac").is_dir() && data.join("cas").is_dir());
    }
}

#[test]
fn through_redis() {
    let Some(server) = have_helpers().then(engines::redis).flatten() else { return };
    shares(&format!("redis://127.0.0.1:{}", server.port), &[]);
    let socket = server.directory.path().join("redis");
    shares(&format!("redis+unix://{} prefix=p/ expire=1000", socket.display()), &[]);
    shares(&format!("redis://127.0.0.1:{}/3 namespace=n", server.port), &[]);
}

/// Servers whose certificates come from an authority of one's own: `ca-file` names it, and without it they are refused.
#[test]
fn through_tls() {
    if !have_helpers() {
        return;
    }
    let servers = [("https", engines::nginx_tls()), ("rediss", engines::redis_tls())];
    for (scheme, server) in servers {
        let Some(server) = server else { continue };
        let url = format!("{scheme}://localhost:{}", server.port);
        let ca = server.directory.path().join("ca.pem");
        shares(&format!("{url} ca-file={}", ca.display()), &[]);
        let why = Machine::new(&url).status("does not answer");
        assert!(why.to_lowercase().contains("cert") || why.contains("UnknownIssuer"), "{why}");
        let other = server.directory.path().join("cert.pem");
        Machine::new(&format!("{url} ca-file={}", other.display())).status("does not answer");
        // A name that is not in the certificate.
        let url = url.replace("localhost", "127.0.0.1");
        Machine::new(&format!("{url} ca-file={}", ca.display())).status("does not answer");
    }
}

#[test]
fn through_s3() {
    let Some(server) = have_helpers().then(engines::seaweed).flatten() else { return };
    let [key, secret] = S3_KEYS;
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    let remote = format!("s3://bucket/some/prefix?region=us-east-1 endpoint={endpoint}");
    shares(&remote, &[("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret)]);
    // The same from files.
    let files = tempfile::tempdir().unwrap();
    let at = |name: &str| files.path().join(name).display().to_string();
    let text = format!("[team]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
    fs::write(at("credentials"), text).unwrap();
    let config = format!("[profile team]\nregion = us-east-1\nendpoint_url = {endpoint}\n");
    fs::write(at("config"), config).unwrap();
    let variables = [
        ("AWS_SHARED_CREDENTIALS_FILE", at("credentials")),
        ("AWS_CONFIG_FILE", at("config")),
        ("AWS_PROFILE", "team".to_owned()),
    ];
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    shares("s3://bucket/other layout=flat", &variables);
    // Wrong credentials, and a bucket that is not there.
    let wrong =
        Machine::new(&remote).with("AWS_ACCESS_KEY_ID", key).with("AWS_SECRET_ACCESS_KEY", "x");
    assert!(wrong.status("does not answer").contains("HTTP status 403"));
}

/// Relative names, in a directory of another length: the first of a class of commands is compared, the others are served.
#[test]
fn in_another_directory() {
    let Some((_directory, remote)) = engines::directory() else { return };
    let (first, second) = (Machine::new(&remote), Machine::new(&remote));
    let project = Project::with(SOURCES);
    let elsewhere = project.copy(7);
    for tool in tools::present(tools::C) {
        let lines = ["a", "b"].map(|name| format!("{tool} -O2 -Iinc -c {name}.c -o {name}.o"));
        for line in &lines {
            project.call(&first, line).check().expect(&Outcome::Miss);
        }
        first.flush();
        let counted = second.count(|| {
            for line in &lines {
                elsewhere.call(&second, line).check().expect(&Outcome::PortableHit);
            }
        });
        assert_eq!(counted.get("remote_hits"), 2, "{tool}: {counted:?}");
    }
}

#[test]
fn what_fails_and_what_cannot_be_shared_stays_here() {
    let Some((directory, remote)) = engines::directory() else { return };
    let machine = Machine::new(&remote);
    let project = Project::with(SOURCES);
    for tool in tools::present(tools::C) {
        let line = format!("{tool} -c e.c -o e.o");
        for outcome in [Outcome::ToolFailure, Outcome::ToolFailure, Outcome::FailureHit] {
            project.call(&machine, &line).check().expect(&outcome);
        }
    }
    machine.flush();
    let is_empty = |path: &Path| fs::read_dir(path).unwrap().next().is_none();
    assert!(is_empty(directory.path()));
    // Nor is anything sent to a storage that is only read, or from a cache that is.
    let line = "gcc -Iinc -c b.c -o b.o";
    let reader = Machine::new(&format!("{remote} read-only"));
    project.call(&reader, line).check().expect(&Outcome::Miss);
    let read_only = Machine::new(&remote).with("IBID_READONLY", "1");
    project.call(&read_only, line).check().expect(&Outcome::NotStored("read_only".into()));
    let said = reader.ibid(["remote", "flush"]).output().unwrap();
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(is_empty(directory.path()));
}

/// The first that has it gives it; each that takes results gets them.
#[test]
fn several_storages() {
    let Some((_one, one)) = engines::directory() else { return };
    let Some((_other, other)) = engines::directory() else { return };
    let project = Project::with(SOURCES);
    let line = "gcc -Iinc -c b.c -o b.o";
    let first = Machine::new(&other);
    project.call(&first, line).check().expect(&Outcome::Miss);
    first.flush();
    let both = Machine::new(&format!("{one}; {other} read-only; nothing://here"));
    project.call(&both, line).check().expect(&Outcome::PortableHit);
    let new = "gcc -O1 -Iinc -c b.c -o b.o";
    project.call(&both, new).check().expect(&Outcome::Miss);
    let done = both.ibid(["remote", "flush"]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("ccache-storage-nothing"), "{said}");
    let third = Machine::new(&one);
    project.call(&third, new).check().expect(&Outcome::PortableHit);
    project.call(&third, line).check().expect(&Outcome::Miss);
}

/// A build sends by itself, by a process that outlives it, and that holds nothing of it.
#[test]
fn results_are_sent_without_being_asked() {
    let Some((directory, remote)) = engines::directory() else { return };
    let project = Project::with(SOURCES);
    let machine = Machine::new(&remote);
    // A pipe that anybody held would not end.
    std::thread::sleep(Duration::from_millis(100));
    let line = format!("{} gcc -Iinc -c b.c -o b.o 5>&1", tools::ibid().display());
    let done = machine.command("sh").args(["-c", &line]).current_dir(project.path()).output();
    assert!(done.unwrap().status.success());
    let started = Instant::now();
    while machine.status("waiting to be sent") != "waiting to be sent 0" {
        assert!(started.elapsed() < Duration::from_mins(1), "nothing is sent");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(fs::read_dir(directory.path()).unwrap().count() >= 2);
}

/// The name of ccache's counters for what it found beyond its own cache.
const CCACHE_HIT: &str = "remote_storage_hit";

/// Two ccaches with caches of their own, by a helper of ours that they find by themselves or that runs already.
fn ccaches_share(
    ccache: &Path,
    scheme: &str,
    url: &str,
    attributes: &[(&str, &str)],
    env: &[(&str, &str)],
) {
    let directory = tempfile::Builder::new().prefix("ibid-ccache-").tempdir().unwrap();
    let socket = directory.path().join("socket");
    let mut command = Command::new(helper(scheme));
    command.env("CRSH_IPC_ENDPOINT", &socket).env("CRSH_URL", url).env("CRSH_IDLE_TIMEOUT", "0");
    command.env("CRSH_NUM_ATTR", attributes.len().to_string()).envs(env.iter().copied());
    for (at, (key, value)) in attributes.iter().enumerate() {
        command.env(format!("CRSH_ATTR_KEY_{at}"), key).env(format!("CRSH_ATTR_VALUE_{at}"), value);
    }
    let mut running = command.stdin(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !socket.exists() {
        assert!(running.try_wait().unwrap().is_none() && started.elapsed().as_secs() < 60, "{url}");
        std::thread::sleep(Duration::from_millis(5));
    }
    let project = Project::with(SOURCES);
    let remote = format!("crsh:{}", socket.display());
    let ccache = |cache: &str, args: &[&str]| {
        let done = Command::new(ccache)
            .args(args)
            .current_dir(project.path())
            .env("CCACHE_DIR", directory.path().join(cache))
            .env("CCACHE_REMOTE_STORAGE", &remote)
            .env("CCACHE_TEMPDIR", directory.path().join("tmp"))
            .output()
            .unwrap();
        assert!(done.status.success(), "{url} {args:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let compile = ["gcc", "-Iinc", "-c", "b.c", "-o", "b.o"];
    ccache("one", &compile);
    let made = fs::read(project.at("b.o")).unwrap();
    project.remove("b.o");
    ccache("two", &compile);
    assert_eq!(fs::read(project.at("b.o")).unwrap(), made);
    let counters = ccache("two", &["--print-stats"]);
    let counter = |name: &str| {
        let line = counters.lines().find(|line| line.split('\t').next() == Some(name));
        let count = line.and_then(|line| line.split('\t').nth(1)?.parse::<u64>().ok());
        count.unwrap_or_else(|| panic!("{name}: {counters}"))
    };
    assert!(counter(CCACHE_HIT) > 0 && counter("cache_miss") == 0, "{url}: {counters}");
    engines::stop(&socket);
    assert!(running.wait().unwrap().success() && !socket.exists());
}

#[test]
fn ccache_shares_too() {
    if !have_helpers() || !tools::have("gcc") {
        return;
    }
    let Some(ccache) = engines::from_index("ccache") else { return };
    let files = tempfile::tempdir().unwrap();
    ccaches_share(&ccache, "file", &format!("file://{}", files.path().display()), &[], &[]);
    let http = |server: &Server, layout: &str| {
        let url = format!("http://127.0.0.1:{}/c/{layout}", server.port);
        ccaches_share(&ccache, "http", &url, &[("layout", layout)], &[]);
    };
    for server in [engines::nginx(), engines::apache()].iter().flatten() {
        http(server, "subdirs");
        http(server, "bazel");
    }
    if let Some(server) = engines::redis() {
        let url = format!("redis://127.0.0.1:{}", server.port);
        ccaches_share(&ccache, "redis", &url, &[], &[]);
    }
    if let Some(server) = engines::seaweed() {
        let endpoint = format!("http://127.0.0.1:{}", server.port);
        let [key, secret] = S3_KEYS;
        let env = [("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret)];
        ccaches_share(&ccache, "s3", "s3://bucket/c", &[("endpoint", &endpoint)], &env);
    }
}
