//! Storages and helpers that do not do what they should: right bytes, no failed build, one line for the user.
//!
//! Most play the helper themselves, over ccache's protocol. Read next: `engines.rs`, `remote.rs`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use ibid::remote::protocol::{Answer, Capability, Greeting, Request};
use tempfile::TempDir;

use crate::cache::Outcome;
use crate::engines::{self, Machine, have_helpers, helper};
use crate::project::Project;

const LINE: &str = "gcc -c a.c -o a.o";

fn project() -> Project {
    Project::with(&[
        ("a.c", "int a(void) { return 1; }\n"),
        ("b.c", "int b;\n"),
        ("c.c", "int c;\n"),
    ])
}

/// A helper that a test plays; each connection is said in the channel.
struct Played {
    directory: TempDir,
    connections: Receiver<()>,
}

impl Played {
    fn new(play: impl Fn(UnixStream) + Send + Sync + Clone + 'static) -> Played {
        let directory = tempfile::Builder::new().prefix("ibid-played-").tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("s")).unwrap();
        let (connected, connections) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = connected.send(());
                let play = play.clone();
                thread::spawn(move || play(stream));
            }
        });
        Played { directory, connections }
    }

    fn url(&self) -> String {
        format!("crsh:{}/s", self.directory.path().display())
    }

    fn connections(&self) -> usize {
        self.connections.try_iter().count()
    }
}

fn greet(stream: &mut UnixStream) {
    let _ = Greeting::of(&[Capability::Values, Capability::Exists]).write(stream);
}

/// Answers each request by these bytes, then closes.
fn answering(bytes: &'static [u8]) -> impl Fn(UnixStream) + Send + Sync + Clone + 'static {
    move |mut stream| {
        greet(&mut stream);
        let _ = Request::read(&mut stream);
        let _ = stream.write_all(bytes);
    }
}

#[track_caller]
fn compiles(machine: &Machine, project: &Project) {
    let first = project.call(machine, LINE).check().expect_miss();
    let second = project.call(machine, LINE).check();
    assert_eq!(first.outcome == Outcome::Miss, second.outcome.is_hit());
    assert_eq!(machine.counters().get("remote_hits"), 0);
}

/// One line, which names the storage, in `doctor`; it is no reason to fail.
#[track_caller]
fn doctor_says(machine: &Machine, what: &str) {
    let done = machine.ibid(["doctor", "--quick", "-v"]).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains(" remote ")).collect();
    assert!(lines.len() == 1 && lines[0].contains(what), "{what}: {text}");
    assert_eq!(done.status.code(), Some(0), "{text}");
}

#[test]
fn what_cannot_be_reached() {
    let project = project();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    fs::write(at("file"), "").unwrap();
    project.write_program("ends", "#!/bin/sh\necho 'no such thing' >&2\nexit 1\n");
    project.write_program("silent", "#!/bin/sh\nexit 0\n");
    fs::write(project.at("text"), "no program").unwrap();
    for (remote, why) in [
        ("nothing://here".to_owned(), "no helper ccache-storage-nothing"),
        (format!("s3://b helper={}", at("gone")), "there is no helper"),
        (format!("x://y helper={}", project.at("ends").display()), "no such thing"),
        (format!("x://y helper={}", project.at("text").display()), "it cannot be run"),
        (format!("crsh:{}", at("gone")), "No such file"),
        (format!("crsh:{}", at("file")), "refused"),
    ] {
        let machine = Machine::impatient(&remote);
        compiles(&machine, &project);
        let line = machine.status("does not answer");
        assert!(line.contains(why), "{remote}: {line}");
        assert!(machine.status("last failure").contains(why));
        doctor_says(&machine, why);
    }
    let silent = Machine::impatient(&format!("x://y helper={}", project.at("silent").display()));
    compiles(&silent, &project);
    assert!(silent.status("does not answer").contains("did not start in time"));
}

#[test]
fn helpers_that_say_wrong_things() {
    let project = project();
    let long: &[u8] = &[0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, b'x'];
    for (bytes, why) in [
        (&b""[..], "the helper has ended"),
        (b"\x07", "an unknown answer"),
        (b"\x00\x05\x00\x00\x00\x00\x00\x00\x00ab", "the helper has ended"),
        (long, "a value that is too long"),
        (b"\x02\x05no\nne", "no"),
        (b"\x02\x04HTTP", "HTTP"),
    ] {
        let played = Played::new(answering(bytes));
        let machine = Machine::new(&played.url());
        compiles(&machine, &project);
        let line = machine.status("last failure");
        assert!(line.contains(why), "{bytes:?}: {line}");
    }
    for (greeting, why) in [
        (&b"\x02\x00"[..], "another version"),
        (b"\x01\x01\x07", "stores no values"),
        (b"H", "another version"),
    ] {
        let played = Played::new(move |mut stream: UnixStream| {
            let _ = stream.write_all(greeting);
        });
        let machine = Machine::new(&played.url());
        compiles(&machine, &project);
        assert!(machine.status("last failure").contains(why), "{greeting:?}");
    }
}

/// A storage that failed is left alone by the next compiles, in all processes.
#[test]
fn a_helper_that_never_answers_is_asked_once() {
    let project = project();
    for greets in [false, true] {
        let played = Played::new(move |mut stream: UnixStream| {
            if greets {
                greet(&mut stream);
            }
            // Until the other end gives up.
            let _ = stream.read_to_end(&mut Vec::new());
            thread::sleep(Duration::from_secs(1));
        });
        // The pause lasts ten seconds: a round that took longer says nothing.
        let is_fast = (0..20).any(|_| {
            // Sources must not be newer than a tick of the clock.
            thread::sleep(Duration::from_millis(100));
            played.connections();
            let machine = Machine::impatient(&played.url());
            let started = Instant::now();
            for source in ["a", "b", "c"] {
                let line = ["gcc", "-c", &format!("{source}.c"), "-o", &format!("{source}.o")];
                let done = machine.ibid(line).current_dir(project.path()).output().unwrap();
                assert!(done.status.success(), "{done:?}");
            }
            let is_fast = started.elapsed() < Duration::from_secs(9);
            let asked = played.connections();
            assert!(!is_fast || asked == 1, "greets: {greets}, {asked} connections");
            // Nothing was lost: all of it waits.
            assert_eq!(machine.status("waiting to be sent"), "waiting to be sent 3");
            is_fast
        });
        assert!(is_fast, "this machine is too slow to see it");
    }
}

/// An answer for each byte: slower than any that is worth waiting for.
#[test]
fn a_slow_storage_costs_a_build_no_more_than_it_may() {
    let project = project();
    let played = Played::new(|mut stream: UnixStream| {
        greet(&mut stream);
        while let Ok(Some(_)) = Request::read(&mut stream) {
            thread::sleep(Duration::from_millis(250));
            let _ = Answer::<()>::Nothing.write(&mut stream);
        }
    });
    let machine = Machine::impatient(&format!("{} read-only", played.url()));
    for at in 0..12 {
        let line = format!("gcc -DN={at} -c a.c -o a.o");
        project.call(&machine, &line).check().expect(&Outcome::Miss);
    }
    // Four cost a second; without any noise there would be a fifth that has too little time left.
    let asked = played.connections();
    assert!((1..=5).contains(&asked), "{asked} questions");
}

/// What was not there is not asked for again at once: a probe that fails each time costs one question.
#[test]
fn what_is_not_there_is_asked_for_once() {
    let project = Project::with(&[("e.c", "int e = nothing;\n")]);
    let (requested, requests) = channel();
    let played = Played::new(move |mut stream: UnixStream| {
        greet(&mut stream);
        while let Ok(Some(_)) = Request::read(&mut stream) {
            let _ = requested.send(());
            let _ = Answer::<()>::Nothing.write(&mut stream);
        }
    });
    let machine = Machine::new(&played.url());
    for _ in 0..2 {
        project.call(&machine, "gcc -c e.c -o e.o").check().expect(&Outcome::ToolFailure);
    }
    assert_eq!(requests.try_iter().count(), 1);
}

/// The files of a storage that two machines share.
fn values(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut to_do = vec![directory.to_path_buf()];
    while let Some(directory) = to_do.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            if entry.path().is_dir() { to_do.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.sort();
    found
}

#[test]
fn damaged_values_are_misses_and_are_replaced() {
    let project = project();
    let damage: [fn(&mut Vec<u8>); 5] = [
        |bytes| bytes.truncate(bytes.len() / 2),
        Vec::clear,
        |bytes| bytes.push(0),
        |bytes| {
            let at = bytes.len() - 9;
            bytes[at] ^= 1;
        },
        |bytes| bytes.fill(0x5a),
    ];
    for (number, damage) in damage.into_iter().enumerate() {
        let Some((directory, remote)) = engines::directory() else { return };
        let first = Machine::new(&remote);
        project.call(&first, LINE).check().expect(&Outcome::Miss);
        first.flush();
        let values = values(directory.path());
        assert_eq!(values.len(), 2);
        for value in &values {
            let mut bytes = fs::read(value).unwrap();
            damage(&mut bytes);
            fs::write(value, bytes).unwrap();
        }
        let second = Machine::new(&remote);
        // A byte behind the end is read over.
        let seen = project.call(&second, LINE).check();
        assert!(number == 2 || seen.outcome == Outcome::Miss, "{number}: {:?}", seen.outcome);
        second.flush();
        let third = Machine::new(&remote);
        project.call(&third, LINE).check().expect(&Outcome::PortableHit);
        assert!(third.say(&["verify"]).contains("nothing is damaged"));
    }
}

/// A value under another's key is whole, but is not what was asked for.
#[test]
fn values_that_were_exchanged() {
    let Some((directory, remote)) = engines::directory() else { return };
    let project = project();
    let first = Machine::new(&remote);
    let lines = ["a", "b"].map(|name| format!("gcc -c {name}.c -o o.o"));
    for line in &lines {
        project.call(&first, line).check().expect(&Outcome::Miss);
    }
    first.flush();
    let values = values(directory.path());
    assert_eq!(values.len(), 4);
    for at in 1..4 {
        let bytes: Vec<_> = values.iter().map(|path| fs::read(path).unwrap()).collect();
        for (value, path) in values.iter().enumerate() {
            fs::write(path, &bytes[(value + at) % 4]).unwrap();
        }
        let second = Machine::new(&format!("{remote} read-only"));
        for line in &lines {
            // Path sets of another source may happen to be the same.
            project.call(&second, line).check();
        }
        for (value, path) in values.iter().enumerate() {
            fs::write(path, &bytes[value]).unwrap();
        }
    }
}

/// An HTTP server of one answer.
fn web(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer);
        }
    });
    port
}

#[test]
fn servers_that_refuse_or_break_off() {
    if !have_helpers() {
        return;
    }
    let project = project();
    for (answer, why) in [
        (&b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\n<ht>"[..], "HTTP status 403"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "HTTP status 503"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort", ""),
        (b"no HTTP at all\r\n\r\n", ""),
        (b"", ""),
    ] {
        let url = format!("http://user:s3cret@127.0.0.1:{}/x", web(answer));
        let machine = Machine::new(&url);
        compiles(&machine, &project);
        let line = machine.status("does not answer");
        assert!(line.contains(why) && !line.contains("s3cret"), "{answer:?}: {line}");
        doctor_says(&machine, why);
        for args in [&["config", "list"][..], &["remote", "status"], &["doctor", "--quick", "-v"]] {
            let done = machine.ibid(args).output().unwrap();
            let said = [done.stdout, done.stderr].concat();
            assert!(!String::from_utf8_lossy(&said).contains("s3cret"), "{args:?}");
        }
    }
    let gone = format!("http://127.0.0.1:{}/x", engines::free_port());
    let machine = Machine::new(&gone);
    compiles(&machine, &project);
    assert!(machine.status("does not answer").contains("refused"));
}

#[test]
fn a_server_that_freezes_and_goes_on() {
    let Some(server) = have_helpers().then(engines::redis).flatten() else { return };
    let project = project();
    let machine = Machine::impatient(&format!("redis://127.0.0.1:{}", server.port));
    assert!(machine.status("answers").contains("redis"));
    server.signal(rustix::process::Signal::STOP);
    for source in ["a", "b", "c"] {
        let line = format!("gcc -c {source}.c -o {source}.o");
        project.call(&machine, &line).check().expect(&Outcome::Miss);
    }
    assert_eq!(machine.status("waiting to be sent"), "waiting to be sent 3");
    server.signal(rustix::process::Signal::CONT);
    machine.flush();
    let second = Machine::new(&format!("redis://127.0.0.1:{}", server.port));
    project.call(&second, LINE).check().expect(&Outcome::PortableHit);
}

/// The next call starts another one.
#[test]
fn a_helper_that_is_killed() {
    let Some((_directory, remote)) = engines::directory() else { return };
    let project = project();
    let first = Machine::new(&remote);
    project.call(&first, LINE).check().expect(&Outcome::Miss);
    first.flush();
    let second = Machine::new(&remote);
    assert!(second.status("answers").contains("file"));
    let [socket] = &second.sockets()[..] else { panic!("one helper") };
    let listener = UnixStream::connect(socket).unwrap();
    let peer = rustix::net::sockopt::socket_peercred(&listener).unwrap();
    rustix::process::kill_process(peer.pid, rustix::process::Signal::KILL).unwrap();
    while UnixStream::connect(socket).is_ok() {
        thread::sleep(Duration::from_millis(5));
    }
    project.call(&second, LINE).check().expect(&Outcome::PortableHit);
}

/// What a helper is told wrongly it says in one line, and ends.
#[test]
fn helpers_refuse_what_they_do_not_know() {
    if !have_helpers() {
        return;
    }
    for (scheme, url, why) in [
        ("file", "file:///tmp?layuot=flat", "unknown attribute `layuot`"),
        ("file", "file:///proc/nothing", "/proc/nothing"),
        ("file", "nothing", "the URL is wrong"),
        ("http", "http://h/x?layout=deep", "layout: `deep` is not known"),
        ("redis", "redis://h?expire=soon", "expire"),
        ("s3", "s3://b?path-style=x", "path-style"),
        ("s3", "s3://b?profile=none", "the profile `none` has no credentials"),
        ("s3", "s3:///key", "s3://BUCKET/PREFIX"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let done = std::process::Command::new(helper(scheme))
            .env_clear()
            .env("CRSH_IPC_ENDPOINT", directory.path().join("s"))
            .env("CRSH_URL", url)
            .env("CRSH_NUM_ATTR", "0")
            .output()
            .unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success() && said.lines().count() == 1, "{url}: {said}");
        assert!(said.contains(why), "{url}: {said}");
    }
}
