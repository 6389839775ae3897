#!/usr/bin/env python3
"""Builds real projects bare, with ibid and with ccache: seconds, what was served, and whether the trees are equal.

    run.py IBID SOURCES [PROJECT ...] [--rounds N] [--jobs N] [--markdown FILE]

IBID is the program. SOURCES holds unpacked Debian sources (`apt-get source git`; Lua as in its .orig.tar; the kernel in the package
linux-source-6.1). PROJECT is one of the names in PROJECTS below; without one all are built whose sources are there.

A project is configured once, by the bare tools. Then each build begins with a copy of that tree in one place. PATH begins with
a directory of links named as `ibid install` names them; where they lead makes the difference: to the tools (bare), to ibid
(all names), to ccache (the compilers' names), as users of links have it. Each has a cache of its own, empty before it is cold.
SOURCE_DATE_EPOCH is set: without it some builds write the time into a header or an object, and are never the same twice.

  cold   empty cache
  clean  the same tree after `make clean` or the like
  again  a new copy of the tree in the same place: other inodes and times

Each round runs bare, then ibid and ccache, which change places each time; figures are medians. Two more builds
with ibid and one bare are not timed: in these, a small program (note_call.c) stands before each tool and notes its CPU time.
From them come the shares that ibid serves in a new copy: of the tools' runs, and of the CPU time that they take bare.
A run counts as served if ibid's log calls it a hit. A run inside of another one (gcc starts no tool by name; a script may) counts by itself.

Trees are compared after each of ibid's builds: each file that two bare builds agree on, by content, kind and mode.
"""

import argparse
import hashlib
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
GIT = "NO_GETTEXT=1 NO_TCLTK=1 NO_PERL=1 NO_PYTHON=1 NO_CURL=1 NO_EXPAT=1 NO_OPENSSL=1"
# Name: directory of the source (its beginning), configure, build, clean.
PROJECTS = {
    "git": ("git-", "true", f"make -j{{jobs}} {GIT}", f"make {GIT} clean"),
    "cpython": ("python3.11-", "./configure", "make -j{jobs}", "make clean"),
    "redis": ("redis-", "true", "make -j{jobs} MALLOC=libc BUILD_TLS=no", "make distclean"),
    "protobuf": (
        "protobuf-",
        "cmake -S . -B b -DCMAKE_BUILD_TYPE=Release -Dprotobuf_BUILD_TESTS=OFF",
        "cmake --build b -j{jobs}",
        "cmake --build b --target clean",
    ),
    "lua-emcc": (
        "lua-",
        "true",
        "make -j{jobs} -C src generic CC=emcc AR='emar rcu' RANLIB=emranlib",
        "make -C src clean",
    ),
    "linux-tiny": ("linux-source-", "make tinyconfig", "make -j{jobs}", "make clean"),
}
COMPILERS = re.compile(r"(cc|c\+\+|gcc|g\+\+|clang|clang\+\+)(-\d+)?$")
TOOLS = ("bare", "ibid", "ccache")


def cpu_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def contents(tree):
    """What is in a tree: path to (kind, mode, digest or target)."""
    found = {}
    for directory, _, names in os.walk(tree):
        for name in names:
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            if os.path.islink(path):
                says = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    says = hashlib.file_digest(file, "sha256").hexdigest()
            else:
                says = ""
            found[os.path.relpath(path, tree)] = (mode, says)
    return found


class Bench:
    """One project's directory: its configured tree, the links, the caches."""

    def __init__(self, ibid, source, project, jobs):
        _, self.configure, self.make, self.clean = PROJECTS[project]
        self.make = self.make.format(jobs=jobs)
        self.scratch = tempfile.mkdtemp(prefix="ibid-builds-")
        self.ibid, self.source = ibid, source
        self.tree, self.pristine = f"{self.scratch}/tree", f"{self.scratch}/pristine"
        self.bin, self.calls = f"{self.scratch}/bin", f"{self.scratch}/calls"
        self.path = os.environ["PATH"]
        subprocess.run([ibid, "install", f"{self.scratch}/links"], check=True, capture_output=True)
        self.names = sorted(os.listdir(f"{self.scratch}/links"))
        subprocess.run(["cc", "-O2", "-o", f"{self.scratch}/note_call", f"{HERE}/note_call.c"], check=True)

    def environment(self, cache, front):
        env = {name: value for name, value in os.environ.items() if not name.startswith(("IBID_", "CCACHE_"))}
        env.update(
            PATH=":".join([*front, self.path]), HOME=self.scratch, CALLS=self.calls, LC_ALL="C",
            SOURCE_DATE_EPOCH="1700000000", XDG_RUNTIME_DIR=self.scratch, IBID_DIR=f"{self.scratch}/{cache}", CCACHE_DIR=f"{self.scratch}/{cache}",
        )
        return env

    def link(self, tool):
        """Makes the links lead to what `tool` stands for."""
        shutil.rmtree(self.bin, ignore_errors=True)
        os.mkdir(self.bin)
        for name in self.names:
            real = shutil.which(name, path=self.path)
            if tool == "noted":
                target = f"{self.scratch}/note_call"
            elif tool == "ibid":
                target = self.ibid
            elif tool == "ccache" and COMPILERS.match(name):
                target = shutil.which("ccache")
            else:
                target = real
            os.symlink(target, f"{self.bin}/{name}")

    def fresh(self):
        shutil.rmtree(self.tree, ignore_errors=True)
        subprocess.run(["cp", "-a", self.pristine, self.tree], check=True)
        # Writing it back is no part of the next build.
        os.sync()

    def run(self, command, env):
        """Wall and CPU seconds of a command in the tree."""
        with open(f"{self.scratch}/output", "ab") as output:
            began, used = time.monotonic(), cpu_s()
            done = subprocess.run(command, shell=True, cwd=self.tree, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            took = time.monotonic() - began, cpu_s() - used
        if done.returncode:
            sys.exit(f"{command}: status {done.returncode}; its output is in {self.scratch}/output")
        return took

    def set_up(self):
        shutil.copytree(self.source, self.tree, symlinks=True)
        self.link("bare")
        self.run(self.configure, self.environment("none", [self.bin]))
        os.rename(self.tree, self.pristine)

    def timed(self, tool, check):
        """The phases of one tool: name to (wall, CPU) seconds. `check` is called with the phase after each."""
        cache = f"{tool}-cache"
        shutil.rmtree(f"{self.scratch}/{cache}", ignore_errors=True)
        self.link(tool)
        env = self.environment(cache, [self.bin])
        took = {}
        self.fresh()
        took["cold"] = self.run(self.make, env)
        check("cold")
        if tool != "bare":
            self.run(self.clean, env)
            took["clean"] = self.run(self.make, env)
            check("clean")
            self.fresh()
            took["again"] = self.run(self.make, env)
            check("again")
        return took

    def noted(self, links, log=None):
        """A build in which each call is noted: (process, CPU us, directory and words) of each."""
        self.link("noted")
        self.fresh()
        if os.path.exists(self.calls):
            os.remove(self.calls)
        env = self.environment("noted-cache", [self.bin, *links])
        if log:
            env["IBID_LOG"] = log
        self.run(self.make, env)
        with open(self.calls, errors="surrogateescape") as file:
            rows = [line.rstrip("\n").split("\t") for line in file]
        return [(int(row[0]), int(row[1]), tuple(row[3:])) for row in rows]

    def served(self):
        """Shares of runs and of bare CPU time that are hits in a new copy; and what was not, by outcome: runs and seconds."""
        bare = {}
        for _, cpu_us, what in self.noted([]):
            bare.setdefault(what, []).append(cpu_us)
        agreed = contents(self.tree)
        links, log = [f"{self.scratch}/links"], f"{self.scratch}/log"
        self.noted(links)
        if os.path.exists(log):
            os.remove(log)
        calls = self.noted(links, log)
        outcomes = {}
        with open(log, errors="surrogateescape") as file:
            for line in file:
                last = re.match(r"\S+ ibid\[(\d+)\] [\d.]+ ms: ((?:direct hit|content hit|miss|passed through|tool failed)[^:]*): ", line)
                if last:
                    outcomes[int(last[1])] = last[2]
        hits, hit_us, all_us, rest = 0, 0, 0, {}
        for process, cpu_us, what in calls:
            costs = bare.get(what)
            cost = statistics.mean(costs) if costs else cpu_us
            outcome = outcomes.get(process, "nothing in the log")
            all_us += cost
            if " hit" in outcome:
                hits, hit_us = hits + 1, hit_us + cost
            else:
                runs, seconds, example = rest.get((what[1], outcome), (0, 0, what))
                rest[what[1], outcome] = runs + 1, seconds + cost / 1e6, example
        return agreed, len(calls), hits / len(calls), hit_us / all_us, all_us / 1e6, rest


def measure(ibid, source, project, args):
    bench = Bench(ibid, source, project, args.jobs)
    bench.set_up()
    print(f"{project}: {os.path.basename(source)}, {bench.scratch}", flush=True)
    lines, samples, differs = [], {}, []
    agreed, calls, runs, share, all_s, rest = bench.served()
    tools = [tool for tool in TOOLS if tool != "ccache" or shutil.which("ccache")]
    disagreed = set()

    def check_against(tool):
        def check(phase):
            found = contents(bench.tree)
            if tool == "bare":
                # What two bare builds disagree about is not compared.
                for path in agreed.keys() | found.keys():
                    if found.get(path) != agreed.get(path):
                        agreed.pop(path, None)
                        disagreed.add(path)
            elif tool == "ibid":
                differs.extend(f"{phase}: {path}" for path in agreed if found.get(path) != agreed[path])
                differs.extend(f"{phase}: {path} is new" for path in found if path not in agreed and path not in disagreed)
        return check

    order = list(tools)
    for _ in range(args.rounds):
        for tool in order:
            for phase, took in bench.timed(tool, check_against(tool)).items():
                samples.setdefault((tool, phase), []).append(took)
                print(f"  {tool} {phase}: {took[0]:.1f} s, {took[1]:.1f} s of CPU", flush=True)
        order = ["bare", *order[2:], order[1]] if len(order) > 2 else order
    middle = {key: tuple(statistics.median(column) for column in zip(*values)) for key, values in samples.items()}
    bare = middle["bare", "cold"]
    lines.append("| build | wall s | of bare | CPU s | of bare |")
    lines.append("|---|---|---|---|---|")
    for (tool, phase), (wall, cpu) in middle.items():
        lines.append(f"| {tool} {phase} | {wall:.2f} | {wall / bare[0]:.3f} | {cpu:.2f} | {cpu / bare[1]:.3f} |")
    lines.append("")
    lines.append(
        f"{calls} runs of tools, {all_s:.1f} s of CPU bare; served in a new copy: {runs:.1%} of the runs, {share:.1%} of the time. "
        f"{len(agreed)} files on which bare builds agree ({len(disagreed)} not): {len(differs)} differ with ibid."
    )
    for (name, outcome), (runs, seconds, example) in sorted(rest.items(), key=lambda item: -item[1][1])[:12]:
        lines.append(f"- not served: {name}, {outcome}: {runs} runs, {seconds:.2f} s")
        print("   ", " ".join(example[1:])[:300], "in", example[0])
    lines.extend(f"- differs: {path}" for path in differs[:20])
    print("\n".join(lines), flush=True)
    if not differs and not args.keep:
        shutil.rmtree(bench.scratch)
    return [f"## {project}: {os.path.basename(source)}, `{bench.make}`", "", *lines, ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ibid")
    parser.add_argument("sources")
    parser.add_argument("projects", nargs="*", metavar="PROJECT", help=", ".join(PROJECTS))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--markdown", metavar="FILE", help="adds the tables to FILE")
    parser.add_argument("--keep", action="store_true", help="leaves the scratch directories")
    args = parser.parse_args()
    unknown = [name for name in args.projects if name not in PROJECTS]
    if unknown:
        parser.error(f"no project {unknown[0]}; there are {', '.join(PROJECTS)}")
    there = sorted(os.listdir(args.sources))
    for project in args.projects or PROJECTS:
        found = [name for name in there if name.startswith(PROJECTS[project][0]) and os.path.isdir(f"{args.sources}/{name}")]
        if not found:
            print(f"{project}: no {PROJECTS[project][0]}* in {args.sources}; left out", flush=True)
            continue
        table = measure(os.path.abspath(args.ibid), os.path.abspath(f"{args.sources}/{found[-1]}"), project, args)
        if args.markdown:
            with open(args.markdown, "a") as file:
                file.write("\n".join(table) + "\n")


if __name__ == "__main__":
    main()
