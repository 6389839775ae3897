#!/usr/bin/env python3
"""Builds N checkouts of one CMake project, each started one Nth of a build after the one before, with one cache.

    run.py IBID SOURCE [N] [cmake options]

IBID is the program, SOURCE a directory with a CMakeLists.txt. All is done in a scratch directory, with a cache of its own and
IBID_REMAP=auto. Prints the bare build's time, and of all builds together: seconds of wall clock and of CPU, compiles that ran,
in builds' worth, and the size of the cache. Compiles that ran to be compared with the result of another checkout count, which the log tells.
Configuring is done before, with another cache, and not counted.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor


def cpu_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main():
    ibid, source = (os.path.abspath(word) for word in sys.argv[1:3])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    scratch = tempfile.mkdtemp(prefix="ibid-worktrees-")
    log = f"{scratch}/log"
    env = dict(os.environ, IBID_DIR=f"{scratch}/cache", XDG_RUNTIME_DIR=scratch, IBID_REMAP="auto", IBID_LOG=log)
    os.chmod(scratch, 0o700)

    def configured(name, launcher):
        place = f"{scratch}/{name}/project"
        shutil.copytree(source, place, symlinks=True)
        os.makedirs(f"{place}/.git", exist_ok=True)
        words = ["cmake", "-B", f"{place}/build", "-S", place, *sys.argv[4:]]
        words += [f"-DCMAKE_{tool}_COMPILER_LAUNCHER={ibid}" for tool in ("C", "CXX") if launcher]
        other = dict(env, IBID_DIR=f"{scratch}/configure-cache", IBID_LOG="")
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=other)
        return f"{place}/build"

    def build(place, **more):
        words = ["make", "-j2", "-C", place]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, **more)

    bare = configured("bare", False)
    began, used = time.time(), cpu_s()
    assert build(bare).wait() == 0
    bare_s = time.time() - began
    print(f"bare: {bare_s:.1f} s, {cpu_s() - used:.1f} s of CPU", flush=True)

    with ThreadPoolExecutor(2) as pool:
        places = list(pool.map(lambda number: configured(f"checkout{'x' * number}", True), range(count)))
    began, used, running = time.time(), cpu_s(), []
    for number, place in enumerate(places):
        time.sleep(max(0, began + number * bare_s / count - time.time()))
        running.append(build(place))
    assert all(process.wait() == 0 for process in running)
    wall_s = time.time() - began
    stats = json.loads(subprocess.check_output([ibid, "stats", "--json"], env=env))
    with open(log, encoding="utf-8", errors="replace") as lines:
        compared = sum("content hit, compared" in line for line in lines)
    compiles = stats["misses"] + compared
    calls = stats["invocation_hits"] + stats["portable_hits"] + stats["misses"]
    du = subprocess.check_output(["du", "-sk", f"{scratch}/cache"]).split()[0]
    print(
        f"{count} checkouts: {wall_s:.1f} s, {cpu_s() - used:.1f} s of CPU; {calls} calls, {stats['misses']} misses,"
        f" {compared} comparisons: {compiles * count / calls:.2f} builds' worth of compiles;"
        f" the cache holds {int(du) / 1024:.1f} MiB; {stats['internal_errors'] or 'no internal errors'}"
    )
    shutil.rmtree(scratch)


main()
