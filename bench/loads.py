"""Runs of the load and of what disturbs a server."""
import os
import re
import resource
import signal
import subprocess
import time
from datetime import datetime

import proc
import servers

LOAD = servers.BUILT / "load"
STRIKE = servers.BUILT / "strike"
PATIENCE = 90  # seconds that one run may take at most


def command(server, cpu=None, **options):
    """As `load` has it: connections=50, connect=True."""
    words = servers.pinning(cpu) + [str(LOAD), "--watch", str(server.pid)]
    if server.peer.http:
        words += ["--http", servers.HTTP_BODY]
    for name, value in options.items():
        if value is True:
            words += [f"--{name}"]
        elif value is not False:
            words += [f"--{name}", str(value)]
    return words + [str(server.port)]


def parse(line):
    """Names and numbers in turn."""
    words = line.split()
    return dict(zip(words[::2], map(int, words[1::2])))


def run(server, **options):
    """What the load prints. RuntimeError if the server fails it."""
    done = subprocess.run(command(server, **options), text=True, check=False,
                          capture_output=True, timeout=PATIENCE)
    if done.returncode != 0:
        raise RuntimeError(f"{server.peer.name}: {done.stderr.strip()}")
    row = parse(done.stdout)
    if row["echoes"] == 0:
        raise RuntimeError(f"{server.peer.name}: no answer in {row['ms']} ms")
    return row


def children_ms():
    """Processor time of the processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (used.ru_utime + used.ru_stime)


UNITS_NS = {"us": 1e3, "ms": 1e6, "s": 1e9}


def wrk_ns(said, percent):
    value, unit = re.search(rf"{percent}%\s+([\d.]+)([mu]?s)", said).groups()
    return int(float(value) * UNITS_NS[unit])


def wrk(server, connections, threads, cpu=None):
    """One second of it, as a row. It has no shorter time."""
    own_ms, cpu_ns = children_ms(), proc.cpu_ns(server.pid)
    begun = time.monotonic()
    said = subprocess.run(
        servers.pinning(cpu) +
        ["wrk", "--latency", "-d1s", f"-t{threads}", f"-c{connections}",
         f"http://127.0.0.1:{server.port}/"],
        text=True, check=True, capture_output=True, timeout=PATIENCE).stdout
    ms = round(1000 * (time.monotonic() - begun))
    cpu_ns = proc.cpu_ns(server.pid) - cpu_ns
    echoes = int(re.search(r"(\d+) requests in", said).group(1))
    if echoes == 0 or "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"{server.peer.name}: {said.strip()}")
    return {"echoes": echoes, "ms": ms, "cpu": cpu_ns // echoes,
            "p50": wrk_ns(said, 50), "p99": wrk_ns(said, 99),
            "server": round(cpu_ns / ms / 1000),
            "load": round(1000 * (children_ms() - own_ms) / ms)}


class Held:
    """Connections that stay open while it is entered, and what the load said
    after it had used them."""

    def __init__(self, server, **options):
        self.name = server.peer.name
        self.process = subprocess.Popen(
            command(server, hold=True, **options), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)

    def __enter__(self):
        line = self.process.stdout.readline()
        if not line:
            _, said = self.process.communicate()
            raise RuntimeError(f"{self.name}: {said.strip()}")
        return parse(line)

    def __exit__(self, *_):
        self.process.communicate()


class Disturbance:
    """Kills workers of the server, or reloads it, while it is entered. It ends
    by itself, some time after."""

    def __init__(self, server, what, rate, ms):
        words = [what, server.pid, rate, ms]
        if what == "kill":
            words.insert(1, server.peer.worker_title)
        self.words = [str(STRIKE)] + [str(word) for word in words]

    def __enter__(self):
        self.process = subprocess.Popen(self.words, text=True,
                                        stdout=subprocess.PIPE)
        return self

    def __exit__(self, *_):
        said, _ = self.process.communicate()
        self.times = int(said.split()[1])


# ---- moves ------------------------------------------------------------------

def next_line(log, *words):
    """The next that has one of them, of a log that is still written."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        line = log.readline()
        if any(word in line for word in words):
            return line
        if not line:
            time.sleep(0.002)
    raise RuntimeError(f"no {words[0]} in {PATIENCE} s")


def time_of(line):
    """In seconds, to the millisecond."""
    return datetime.fromisoformat(line.split()[0].replace("Z", "+00:00")) \
        .timestamp()


def reload(server, times, pause_ms):
    """One after the other. From each signal until the server says that it has
    reloaded: milliseconds."""
    took = []
    with server.log.open() as log:
        log.seek(0, os.SEEK_END)
        for _ in range(times):
            begun = time.time()
            os.kill(server.pid, signal.SIGHUP)
            line = next_line(log, "reloaded: ", "reload failed")
            if "reloaded: " not in line:
                raise RuntimeError(line.strip())
            took.append(max(0, round(1000 * (time_of(line) - begun))))
            time.sleep(pause_ms / 1000)
    return took


def remove_worker(server, number):
    """Returns when that worker has gone."""
    os.kill(server.pid, signal.SIGTTOU)
    deadline = time.monotonic() + PATIENCE
    while server.workers_named(f" {number}"):
        if time.monotonic() > deadline:
            raise RuntimeError(f"worker {number} stays")
        time.sleep(0.01)
