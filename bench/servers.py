"""The servers that are measured: how each is started, and what it lacks."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import Callable

import proc

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILT = ROOT / "build/bench"
SOURCES = ROOT / "bench/peers"
SCRATCH = BUILT / "scratch"
HTTP_SERVICE = pathlib.Path(
    os.environ.get("HTTP_SERVICE") or ROOT / "build/examples/http.so")
HTTP_BODY = "hello, world"
PATIENCE = 10  # seconds until a server is ready, or has ended


@dataclass(frozen=True)
class Place:
    """What a server is told."""
    port: int
    workers: int
    connections: int


@dataclass(frozen=True)
class Peer:
    name: str
    command: Callable[[Place], list]
    needs: Callable[[], bool] = lambda: True
    package: str = ""         # Debian's, which it comes from
    http: bool = False
    scales: bool = False      # to more than one worker
    most: int = 1000000       # connections: it makes a process for each
    worker_title: str = ""    # of the processes that may be killed


# ---- their commands ---------------------------------------------------------

def built(name):
    """A program that the Makefile makes, if its library is there."""
    def command(place):
        return [BUILT / name, place.port, place.workers]
    return {"command": command, "needs": (BUILT / name).exists}


def floor_http(place):
    """As long as what this-http says."""
    return [BUILT / "floor", place.port, place.workers,
            "HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 09:00:00 GMT\r\n"
            "Content-Type: text/html; charset=utf-8\r\n"
            f"Content-Length: {len(HTTP_BODY)}\r\n\r\n{HTTP_BODY}"]


def program(name):
    """Daemons lie where only root's path leads."""
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


def installed(name):
    return lambda: program(name) is not None


def configured(template, place):
    """The path of that configuration with its @words@ replaced."""
    words = {"port": place.port, "workers": place.workers,
             "connections": place.connections, "body": HTTP_BODY,
             "files": place.connections + 100, "directory": SCRATCH}
    text = (SOURCES / template).read_text()
    for word, value in words.items():
        text = text.replace(f"@{word}@", str(value))
    path = SCRATCH / template
    path.write_text(text)
    return path


def preforkd(place, service=""):
    return [os.environ.get("PREFORKD") or ROOT / "preforkd",
            "--listen", f"127.0.0.1:{place.port}{service}",
            "--workers", place.workers, "--log-level", "error",
            "--max-connections", place.connections]


def preforkd_stamps(place):
    """It says how its moves go: stamps.c."""
    return [BUILT / "preforkd-stamps", *preforkd(place)[1:],
            "--log-level", "info"]


def preforkd_http(place):
    (SCRATCH / "www").mkdir(exist_ok=True)
    (SCRATCH / "www/index.html").write_text(HTTP_BODY)
    return preforkd(place, f"={HTTP_SERVICE}:{SCRATCH}/www")


def uvloop(place):
    return ["/usr/bin/python3", SOURCES / "uvloop_echo.py", place.port]


def has_uvloop():
    probe = ["/usr/bin/python3", "-c", "import uvloop"]
    return installed(probe[0])() and subprocess.run(
        probe, stderr=subprocess.DEVNULL, check=False).returncode == 0


def node(place):
    return [program("node"), SOURCES / "cluster.js", place.port,
            place.workers]


def xinetd(place):
    return [program("xinetd"), "-dontfork",
            "-f", configured("xinetd.conf", place),
            "-pidfile", SCRATCH / "xinetd.pid"]


def socat(place):
    return [program("socat"), f"TCP4-LISTEN:{place.port},bind=127.0.0.1,"
            "fork,reuseaddr,nodelay,backlog=4096", "PIPE"]


def nginx(place):
    return [program("nginx"), "-p", SCRATCH,
            "-c", configured("nginx.conf", place)]


def haproxy(place):
    return [program("haproxy"), "-q",
            "-f", configured("haproxy.cfg", place)]


PEERS = [
    Peer("floor", **built("floor")),
    Peer("this", preforkd, scales=True, worker_title="preforkd: worker"),
    Peer("naive", **built("naive")),
    Peer("libevent", **built("libevent"), package="libevent-dev"),
    Peer("libuv", **built("libuv"), package="libuv1-dev"),
    Peer("go", **built("gonet"), package="golang-go", scales=True),
    Peer("uvloop", uvloop, has_uvloop, "python3-uvloop"),
    Peer("node", node, installed("node"), "nodejs", scales=True),
    Peer("xinetd", xinetd, installed("xinetd"), "xinetd", most=1000),
    Peer("socat", socat, installed("socat"), "socat", most=1000),
    Peer("this-http", preforkd_http, HTTP_SERVICE.exists, http=True,
         scales=True, worker_title="preforkd: worker"),
    Peer("floor-http", floor_http, (BUILT / "floor").exists, http=True),
    Peer("nginx", nginx, installed("nginx"), "nginx", http=True, scales=True,
         worker_title="nginx: worker"),
    Peer("haproxy", haproxy, installed("haproxy"), "haproxy", http=True,
         scales=True),
]
BY_NAME = {peer.name: peer for peer in PEERS}
STAMPS = Peer("this", preforkd_stamps, worker_title="preforkd: worker")


# ---- running ----------------------------------------------------------------

def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def pinning(cpu):
    """What stands before a command that is to have that CPU, or any: None."""
    return ["taskset", "-c", str(cpu)] if cpu is not None else []


class Server:
    """A running one; `with` ends it and all that it has started."""

    def __init__(self, peer, workers=1, connections=10000, cpu=None):
        SCRATCH.mkdir(parents=True, exist_ok=True)
        self.peer = peer
        self.workers = workers
        # Some count their listener, or what is about to close, too.
        place = Place(free_port(), workers, connections + 100)
        self.port = place.port
        self.log = SCRATCH / f"{peer.name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                pinning(cpu) + [str(word) for word in peer.command(place)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=log)
        self.pid = self.process.pid

    def __enter__(self):
        deadline = time.monotonic() + PATIENCE
        while not answers(self.port):
            if self.process.poll() is not None or \
                    time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.peer.name} does not start: " +
                                   self.log.read_text()[-300:].strip())
            time.sleep(0.005)
        return self

    def __exit__(self, *_):
        self.stop()

    def workers_named(self, name=""):
        title = (self.peer.worker_title + name).encode()
        return [pid for pid in proc.children(self.pid)
                if proc.command_line(pid).startswith(title)]

    def await_connections(self, count):
        """Until its workers have so many."""
        deadline = time.monotonic() + 6 * PATIENCE
        while sum(map(proc.open_files, self.workers_named())) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.peer.name}: not all connect")
            time.sleep(0.05)

    def stop(self):
        """By descriptors of the processes: a pid may be another's soon."""
        descendants = proc.open_pids(proc.tree(self.pid)[1:])
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for descriptor in descendants:
            proc.end(descriptor, signal.SIGKILL)
