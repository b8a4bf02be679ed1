"""The parts of the measurement. Each yields rows, which are dictionaries."""
import contextlib
import os
import statistics
import subprocess
import time
from concurrent import futures
from dataclasses import dataclass, replace

import loads
import proc
import servers
import stamps
from servers import Server

CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, LOAD_CPU = CPUS[0], CPUS[-1]
MANY = len(CPUS)  # workers, where there is more than one


@dataclass(frozen=True)
class Plan:
    """What the user wants."""
    peers: list
    connections: list
    rounds: int
    ms: int
    limit: int  # connections that one process may have
    most: int  # connections in all


@dataclass(frozen=True)
class Point:
    """One way to load a server."""
    connections: int = 50
    bytes: int = 64
    connect: bool = False
    workers: int = 1

    def suits(self, peer):
        return self.connections <= peer.most and \
            (self.workers == 1 or peer.scales)


def note(text):
    print(text, flush=True)


def ms_of(plan, connections):
    """With ten thousand, a single echo of each takes some 100 ms."""
    return plan.ms + connections // 40


def cpus(point):
    """One worker has a CPU of its own, and the load another."""
    return (SERVER_CPU, LOAD_CPU) if point.workers == 1 else (None, None)


def measure(peer, point, plan):
    server_cpu, load_cpu = cpus(point)
    options = {"connections": point.connections, "bytes": point.bytes,
               "connect": point.connect, "ms": ms_of(plan, point.connections),
               "processes": min(point.workers, point.connections)}
    with Server(peer, point.workers, point.connections, server_cpu) as server:
        return loads.run(server, cpu=load_cpu, **options)


def measure_by_wrk(peer, point, _plan):
    """The same, with the load that most take for it."""
    server_cpu, load_cpu = cpus(point)
    with Server(peer, point.workers, point.connections, server_cpu) as server:
        return loads.wrk(server, point.connections, point.workers, load_cpu)


def in_rounds(plan, cells):
    """A B C A B C: what disturbs the machine for a while meets all alike. A
    cell is a peer and the function that measures it; one that fails is told,
    and the others go on."""
    for number in range(1, plan.rounds + 1):
        for labels, function in cells:
            try:
                row = function()
            except (RuntimeError, subprocess.SubprocessError) as error:
                note(f"    failed: {error}")
                continue
            yield {"round": number, **labels, **row}


def finely(plan):
    """What servers are compared in: twice the rounds, half as long. What
    disturbs the machine comes and goes within seconds."""
    return replace(plan, rounds=2 * plan.rounds, ms=plan.ms // 2)


def tell_limits(peers, connections):
    for peer in peers:
        if peer.most < connections:
            note(f"    {peer.name}: a process for each connection; "
                 f"at most {peer.most:,} are measured")


def at_points(plan, points, http=False, by=measure):
    """A row for each round, point and peer."""
    def cell(peer, point):
        labels = {"peer": peer.name, **vars(point)}
        return labels, lambda: by(peer, point, plan)

    peers = [peer for peer in plan.peers if peer.http == http]
    tell_limits(peers, max(point.connections for point in points))
    cells = [cell(peer, point) for point in points for peer in peers
             if point.suits(peer)]
    return in_rounds(plan, cells)


def echo(plan):
    """Echoes: by connections, by size, a connection each, by workers."""
    points = [Point(connections=n) for n in plan.connections]
    points += [Point(bytes=1024), Point(bytes=65536), Point(connect=True)]
    points += [Point(connections=1000, workers=MANY)]
    return at_points(finely(plan), points)


HTTP_POINTS = [Point(), Point(connections=1000),
               Point(connections=1000, workers=MANY)]


def http(plan):
    """GET on kept connections."""
    return at_points(finely(plan), HTTP_POINTS, http=True)


def wrk(plan):
    """The same under wrk."""
    if not servers.program("wrk"):
        note("    skipped: no wrk; apt-get install -y wrk")
        return iter(())
    return at_points(plan, HTTP_POINTS, http=True, by=measure_by_wrk)


def quick(plan):
    """What the continuous integration looks at."""
    points = [Point(), Point(connections=1000), Point(bytes=65536),
              Point(connect=True)]
    return at_points(finely(plan), points)


# ---- memory -----------------------------------------------------------------

def memory_of(peer):
    """An idle connection is one that has had its echo."""
    few, many = 1000, min(10000, peer.most)
    with Server(peer, connections=many) as server:
        start = proc.user_memory(server.pid)
        with loads.Held(server, connections=few, ms=0):
            user_few = proc.user_memory(server.pid)
            kernel_few = proc.kernel_memory()
            row = {"connections": few, "user": (user_few - start) / few}
            if many == few:
                return row
            with loads.Held(server, connections=many - few, ms=0):
                user = proc.user_memory(server.pid)
                kernel = proc.kernel_memory()
    return {"connections": many, "user": (user - start) / many,
            "user_growth": (user - user_few) / (many - few),
            "kernel": (kernel - kernel_few) / (many - few)}


def memory(plan):
    """Bytes for each idle connection."""
    def cell(peer):
        return {"peer": peer.name}, lambda: memory_of(peer)

    return in_rounds(plan, [cell(p) for p in plan.peers if not p.http])


# ---- system calls -----------------------------------------------------------

def count_calls(report):
    """The number in the last line of what strace -c prints."""
    lines = [line.split() for line in report.splitlines()]
    totals = [words for words in lines if words and words[-1] == "total"]
    return int(totals[-1][3]) if totals else 0


@contextlib.contextmanager
def traced(server, report):
    """All processes of the server, while it is entered."""
    words = ["strace", "-f", "-c", "-o", str(report)]
    for pid in proc.tree(server.pid):
        words += ["-p", str(pid)]
    with subprocess.Popen(words, stderr=subprocess.PIPE,
                          text=True) as tracer:
        if "attached" not in (said := tracer.stderr.readline()):
            raise RuntimeError(said.strip())
        time.sleep(0.3)  # until it has all of their threads
        try:
            yield
        finally:
            tracer.terminate()
            tracer.communicate()


def calls_of(peer, plan):
    report = servers.SCRATCH / f"{peer.name}.strace"
    with Server(peer) as server:
        with traced(server, report):
            done = loads.run(server, connections=50, ms=4 * plan.ms)
    return {"calls": count_calls(report.read_text()), "all": done["all"]}


def calls(plan):
    """System calls at 50 busy connections, those of their opening among them.
    Once, as it is no matter of time."""
    if not servers.program("strace"):
        note("    skipped: no strace; apt-get install -y strace")
        return iter(())

    def cell(peer):
        return {"peer": peer.name}, lambda: calls_of(peer, plan)

    once = Plan(plan.peers, plan.connections, 1, plan.ms, plan.limit,
                plan.most)
    return in_rounds(once, [cell(p) for p in plan.peers if not p.http])


# ---- faults -----------------------------------------------------------------

DISTURBANCES = {"none": None, "kills": ("kill", 10), "reloads": ("reload", 2)}
RATE = 10000  # requests a second in the open loop: a fraction of what they can


def disturbed(server, name, plan, **options):
    """The closed loop tells the throughput, the open one the latency."""
    ms = 2 * plan.ms
    if not DISTURBANCES[name]:
        return loads.run(server, ms=ms, failures=True, **options), 0
    what, rate = DISTURBANCES[name]
    with loads.Disturbance(server, what, rate, ms * 3 // 2) as disturbance:
        done = loads.run(server, ms=ms, failures=True, **options)
    return done, disturbance.times


def faults_of(peer, name, plan):
    with Server(peer, max(2, MANY), 1000) as server:
        closed, times = disturbed(server, name, plan)
        opened, more = disturbed(server, name, plan, rate=RATE)
    return {"times": times + more,
            "rate": closed["echoes"] * 1000 // closed["ms"],
            "failed": closed["failed"] + opened["failed"],
            "requests": closed["echoes"] + opened["echoes"],
            **{q: opened[q] for q in ("p50", "p99", "p99.9", "max")}}


def faults(plan):
    """Workers killed ten times a second, reloads twice a second."""
    def cell(peer, name):
        labels = {"peer": peer.name, "disturbance": name}
        return labels, lambda: faults_of(peer, name, plan)

    return in_rounds(plan, [cell(peer, name) for name in DISTURBANCES
                            for peer in plan.peers if peer.worker_title])


# ---- growth -----------------------------------------------------------------

def growth_of(peer, workers, connections, plan):
    processes = -(-connections // plan.limit)
    with Server(peer, workers, min(connections, plan.limit)) as server:
        start = proc.user_memory(server.pid)
        with loads.Held(server, connections=connections, processes=processes,
                        ms=ms_of(plan, connections)) as done:
            user = proc.user_memory(server.pid) - start
    return {**done, "user": user / connections, "whole": start + user}


def counts_for(workers, plan):
    """Some room is left, as none of the workers has exactly its share."""
    room = plan.limit if workers == 1 else workers * plan.limit * 9 // 10
    most = min(room, plan.most)
    return [n for n in (10, 100, 1000, 10000) if n < most] + [most]


def growth(plan):
    """From few connections to the most, workers 1 to 8."""
    def cell(workers, connections):
        peer = servers.BY_NAME["this"]
        labels = {"peer": peer.name, "workers": workers,
                  "connections": connections}
        return labels, lambda: growth_of(peer, workers, connections, plan)

    return in_rounds(plan, [cell(workers, n) for workers in (1, 2, 4, 8)
                            for n in counts_for(workers, plan)])


# ---- moves ------------------------------------------------------------------

RELOADS = 10  # in a row
MOVERS = 3  # workers, where one is to go: each of the others gets half


def with_traffic(server, connections, ms, action):
    """The row of a load with ACTION beside it, and what that returns. Nobody is
    asked again: a wrong answer ends the load."""
    def act():
        server.await_connections(connections)
        return action()

    options = {"connections": connections, "rate": RATE, "ms": ms,
               "processes": -(-connections // 15000), "failures": True}
    with futures.ThreadPoolExecutor(1) as beside:
        acting = beside.submit(act)
        try:
            with loads.Held(server, **options) as row:
                return {**row, "wrong": 0}, acting.result()
        except RuntimeError as error:
            if "wrong bytes" not in str(error):
                raise
            return {"wrong": 1}, None


def reloads_of(connections, disturbance, plan):
    ms = 3 * plan.ms

    def reload():
        time.sleep(ms * 0.3 / 1000)  # until the warm-up is over
        return loads.reload(server, RELOADS, ms * 0.8 / RELOADS)

    with Server(servers.STAMPS, 1, connections) as server:
        if disturbance == "none":
            return with_traffic(server, connections, ms, lambda: None)[0]
        row, took = with_traffic(server, connections, ms, reload)
        if row["wrong"]:
            return row
        moves = stamps.sum_up(server.log)
    return {**row, **moves, "reload_ms": statistics.median(took),
            "reload_most_ms": max(took)}


def ttou_of(connections, plan):
    """All others have as many, and get half as many more each."""
    with Server(servers.STAMPS, MOVERS, connections * 8 // 5) as server:
        row, _ = with_traffic(
            server, MOVERS * connections, 4 * plan.ms,
            lambda: loads.remove_worker(server, MOVERS - 1))
        return row if row["wrong"] else {**row, **stamps.sum_up(server.log)}


def move(plan):
    """Ten reloads in a row, and a worker that goes, with all connections."""
    def cell(connections, disturbance):
        labels = {"connections": connections, "disturbance": disturbance}
        if disturbance == "ttou":
            return labels, lambda: ttou_of(connections, plan)
        return labels, lambda: reloads_of(connections, disturbance, plan)

    cells = [cell(n, disturbance) for n in (10, 1000, 10000)
             for disturbance in ("none", "reloads")]
    return in_rounds(plan, cells + [cell(10000, "ttou")])


ALL = {"echo": echo, "http": http, "wrk": wrk, "memory": memory,
       "calls": calls, "faults": faults, "growth": growth, "move": move}
