"""Runs of the load and of what disturbs a server."""
import subprocess

import servers

LOAD = servers.BUILT / "load"
STRIKE = servers.BUILT / "strike"
PATIENCE = 90  # seconds that one run may take at most


def command(server, cpu=None, **options):
    """As `load` has it: connections=50, connect=True."""
    words = ["taskset", "-c", str(cpu)] if cpu is not None else []
    words += [str(LOAD), "--watch", str(server.pid)]
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
