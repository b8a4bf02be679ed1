"""What was measured: files of it, tables, the bars, and plots."""
import csv
import shutil
import statistics
import subprocess

import servers

RESULTS = servers.ROOT / "bench/results"
LOAD_BOUND = 950  # thousandths of a CPU: it is the load that was measured


# ---- files ------------------------------------------------------------------

def write_table(name, rows):
    """One line for each row, tabs between."""
    RESULTS.mkdir(exist_ok=True)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with (RESULTS / f"{name}.tsv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", delimiter="\t",
                                lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_rows(name, rows):
    """Also what there is when measuring them is ended by force."""
    done = []
    try:
        for row in rows:
            done.append(row)
    finally:
        write_table(name, done)


def value_of(text):
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return {"True": True, "False": False, "": None}.get(text, text)


def read_rows(name):
    path = RESULTS / f"{name}.tsv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{key: value_of(text) for key, text in row.items()}
                for row in csv.DictReader(file, delimiter="\t")]


# ---- figures ----------------------------------------------------------------

def choose(rows, **labels):
    return [row for row in rows
            if all(row.get(key) == value for key, value in labels.items())]


def values(rows, column):
    return [row[column] for row in rows if row.get(column) is not None]


def middle_of(numbers, otherwise=None):
    return statistics.median(numbers) if numbers else otherwise


def spread(numbers):
    """Half the distance of the quartiles, in hundredths of the median."""
    middle = middle_of(numbers, 0)
    if len(numbers) < 2 or middle == 0:
        return 0
    first, _, third = statistics.quantiles(numbers, n=4, method="inclusive")
    return 50 * (third - first) / middle


def ratios(over, under, column):
    """Round by round: both have met the same machine."""
    by_round = {row["round"]: row.get(column) for row in under}
    return [row[column] / by_round[row["round"]] for row in over
            if row.get(column) and by_round.get(row["round"])]


def peers_of(rows):
    return list(dict.fromkeys(row["peer"] for row in rows))


# ---- tables -----------------------------------------------------------------

def show(title, heading, lines):
    if not lines:
        return
    table = [heading] + lines
    widths = [max(len(line[i]) for line in table) for i in range(len(heading))]
    print(f"\n{title}\n")
    for line in table:
        first = line[0].ljust(widths[0])
        rest = [cell.rjust(w) for cell, w in zip(line[1:], widths[1:])]
        print("  " + "  ".join([first] + rest).rstrip())


def number(value, digits=0, unit=1.0):
    return "-" if value is None else f"{value / unit:,.{digits}f}"


def median(rows, column, digits=0, unit=1.0):
    return number(middle_of(values(rows, column)), digits, unit)


def ratio(over, under, column="cpu"):
    return number(middle_of(ratios(over, under, column)), 3)


def rate(rows):
    return [row["echoes"] * 1000 / row["ms"] for row in rows]


POINT = ("connections", "bytes", "connect", "workers")
POINT_HEADING = ["", "cpu us", "+-%", "/ first", "a second", "p50 us", "p99",
                 "p99.9", "server %", "load %"]


def point_line(name, rows, first):
    load = statistics.median(values(rows, "load"))
    bound = " *" if load >= LOAD_BOUND else ""
    return [name, median(rows, "cpu", 3, 1000),
            number(spread(values(rows, "cpu")), 1),
            ratio(rows, first), number(statistics.median(rate(rows))),
            *[median(rows, q, 0, 1000) for q in ("p50", "p99", "p99.9")],
            median(rows, "server", 0, 10), number(load, 0, 10) + bound]


def point_title(point, what):
    connections, size, connect, workers = point
    how = "a connection for each, " if connect else ""
    where = "pinned" if workers == 1 else "unpinned"
    bytes_each = f"{size} bytes, " if what == "echo" else ""
    return (f"{what}, {bytes_each}{how}{connections:,} connections, "
            f"{workers} worker(s), {where}")


def show_points(name, what):
    rows = read_rows(name)
    points = list(dict.fromkeys(tuple(row[key] for key in POINT)
                                for row in rows))
    for point in points:
        here = choose(rows, **dict(zip(POINT, point)))
        by_peer = {peer: choose(here, peer=peer) for peer in peers_of(here)}
        first = next(iter(by_peer.values()))
        show(point_title(point, what), POINT_HEADING,
             [point_line(peer, found, first)
              for peer, found in by_peer.items()])
    if rows:
        print("\n  * the load was the bottleneck: what it did a second is its"
              "\n    own measure; the CPU time of the server holds")


def show_memory():
    rows = read_rows("memory")
    show("bytes for each idle connection; the kernel's with both ends of it",
         ["", "connections", "user", "user, from 1,000", "kernel"],
         [[peer, median(found, "connections"), median(found, "user"),
           median(found, "user_growth"), median(found, "kernel")]
          for peer in peers_of(rows) for found in [choose(rows, peer=peer)]])


def show_calls():
    show("system calls of all processes for each echo, 50 connections",
         ["", "calls"],
         [[row["peer"], number(row["calls"] / row["all"], 2)]
          for row in read_rows("calls")])


def fault_line(peer, what, rows):
    return [peer, what, median(rows, "times"), median(rows, "rate"),
            *[median(rows, q, 0, 1000) for q in ("p50", "p99", "p99.9")],
            number(sum(values(rows, "failed"))),
            number(sum(values(rows, "requests")))]


def show_faults():
    rows = read_rows("faults")
    groups = dict.fromkeys((row["peer"], row["disturbance"]) for row in rows)
    show("kills of workers, ten a second, and reloads, two a second;\n"
         "latency at 10,000 requests a second, from when they were due",
         ["", "disturbed by", "times", "a second", "p50 us", "p99", "p99.9",
          "failed", "of"],
         [fault_line(peer, what, choose(rows, peer=peer, disturbance=what))
          for peer, what in sorted(groups, key=lambda group: group[0])])


def show_growth():
    rows = read_rows("growth")
    groups = dict.fromkeys((row["workers"], row["connections"])
                           for row in rows)
    show("growth, this server, unpinned",
         ["workers", "connections", "cpu us", "+-%", "user bytes each"],
         [[str(workers), number(connections), median(found, "cpu", 3, 1000),
           number(spread(values(found, "cpu")), 1), median(found, "user")]
          for workers, connections in sorted(groups)
          for found in [choose(rows, workers=workers,
                               connections=connections)]])


def move_line(connections, what, rows):
    def us(column):
        return median(rows, column, 0, 1000)

    return [number(connections), what, us("p99.9"), us("max"), us("still"),
            us("still_cpu"), median(rows, "each_cpu", 1, 1000),
            median(rows, "reload_ms"),
            number(max(values(rows, "reload_most_ms"), default=None)),
            number(sum(values(rows, "closed"))),
            number(sum(values(rows, "wrong"))),
            number(sum(values(rows, "all")))]


def show_moves():
    rows = read_rows("move")
    groups = dict.fromkeys((row["connections"], row["disturbance"])
                           for row in rows)
    show("moves: ten reloads in a row, one worker; one of three that goes\n"
         "(ttou); 10,000 requests a second. Latency from when they were due;\n"
         "of each run the longest that a batch stood still, by the clock and\n"
         "in processor time; what one connection costs; the reload in ms",
         ["connections", "disturbed by", "p99.9 us", "max", "still us",
          "its cpu", "cpu each", "reload ms", "most", "closed", "wrong",
          "of"],
         [move_line(n, what, choose(rows, connections=n, disturbance=what))
          for n, what in sorted(groups)])


# ---- the bars ---------------------------------------------------------------

AGAINST = {"libevent": 0.72, "libuv": 0.60, "go": 0.90, "uvloop": 0.95,
           "node": 0.65}


def echo_at(rows, peer, connections=50, size=64, connect=False):
    return choose(rows, peer=peer, connections=connections, bytes=size,
                  connect=connect, workers=1)


def bar(what, limit, numbers, at_least=False, floors=()):
    """None if it was not measured. FLOORS is the same of the floor."""
    if not numbers:
        return None
    figure = statistics.median(numbers)
    met = figure >= limit if at_least else figure <= limit
    sign = ">=" if at_least else "<="
    digits = 3 if 0 < limit < 3 else 0
    return [what, f"{sign} {limit:g}", number(figure, digits),
            number(spread(numbers), 1), number(middle_of(floors), digits),
            "" if met else "MISSED"]


def cpu_bars(rows):
    for n in (50, 1000):
        this, floor = echo_at(rows, "this", n), echo_at(rows, "floor", n)
        what = f"cpu of an echo, {n:,} connections / "
        yield bar(what + "floor", 1.05, ratios(this, floor, "cpu"))
        for peer, limit in AGAINST.items():
            rival = echo_at(rows, peer, n)
            yield bar(what + peer, limit, ratios(this, rival, "cpu"),
                      floors=ratios(floor, rival, "cpu"))


def growth_bars(rows):
    grown, floors = [ratios(echo_at(rows, peer, 10000), echo_at(rows, peer),
                            "cpu") for peer in ("this", "floor")]
    what = "cpu of an echo, 10,000 connections / 50"
    yield bar(what, 1.25, grown, floors=floors)
    # Of ratios between what was measured within seconds.
    few, many = [ratios(echo_at(rows, "this", n), echo_at(rows, "floor", n),
                        "cpu") for n in (50, 10000)]
    yield bar("the same / the floor's own growth", 1.0,
              [each / statistics.median(few) for each in many if few])


def other_bars(rows):
    yield bar("64 KiB, bytes a CPU second / floor", 0.95,
              ratios(echo_at(rows, "floor", size=65536),
                     echo_at(rows, "this", size=65536), "cpu"), True)
    yield bar("connect-echo-close a CPU second / floor", 0.95,
              ratios(echo_at(rows, "floor", connect=True),
                     echo_at(rows, "this", connect=True), "cpu"), True)


def http_bars():
    for name, load in (("http", "our load"), ("wrk", "wrk")):
        rows = read_rows(name)
        for n in (50, 1000):
            nginx = echo_at(rows, "nginx", n)
            yield bar(f"cpu of a request, {n:,} connections / nginx, {load}",
                      0.80, ratios(echo_at(rows, "this-http", n), nginx, "cpu"),
                      floors=ratios(echo_at(rows, "floor-http", n), nginx,
                                    "cpu"))


def state_bars():
    yield bar("user bytes an idle connection, from 1,000 to 10,000", 128,
              values(choose(read_rows("memory"), peer="this"), "user_growth"))
    yield bar("system calls an echo, 50 connections", 2.2,
              [row["calls"] / row["all"]
               for row in choose(read_rows("calls"), peer="this")])
    for peer in ("this", "this-http"):
        rows = [row for row in choose(read_rows("faults"), peer=peer)
                if row["disturbance"] != "none"]
        yield bar(f"failed requests, kills and reloads, {peer}", 0,
                  [sum(values(rows, "failed"))] if rows else [])


def in_unit(rows, column, unit):
    return [value / unit for value in values(rows, column)]


def move_bars():
    rows = read_rows("move")
    for column in ("closed", "wrong"):
        yield bar(f"{column}, ten reloads in a row and TTOU", 0,
                  [sum(values(rows, column))] if rows else [])
    for n in (10, 1000, 10000):
        moved = choose(rows, connections=n, disturbance="reloads")
        still = choose(rows, connections=n, disturbance="none")
        what = f"us, a reload of {n:,} connections: "
        yield bar(what + "stood still, cpu", 5000,
                  in_unit(moved, "still_cpu", 1000))
        yield bar(what + "by the clock", 5000, in_unit(moved, "still", 1000))
        yield bar(what + "the worst echo", 5000, in_unit(moved, "max", 1000),
                  floors=in_unit(still, "max", 1000))
    gone = choose(rows, disturbance="ttou")
    what = "ms, TTOU gives 10,000 connections away: "
    yield bar(what + "cpu", 100, in_unit(gone, "moving_cpu", 1e6))
    yield bar(what + "by the clock", 100, in_unit(gone, "moving", 1e6))


def show_bars(*bars):
    show("what is wanted, and how far the floor comes",
         ["", "bar", "figure", "+-%", "floor", ""],
         [line for several in bars for line in several if line])


def show_failures_of(peer):
    rows = choose(read_rows("faults"), peer=peer)
    if rows:
        print(f"  ({sum(values(rows, 'failed')):,} of {peer}'s have failed)")


# ---- plots ------------------------------------------------------------------

def wide(rows, lines, column, over="connections"):
    """A column for each value of LINES, a row for each of OVER."""
    names = list(dict.fromkeys(row[lines] for row in rows))
    for x in sorted({row[over] for row in rows}):
        found = {name: values(choose(rows, **{lines: name, over: x}), column)
                 for name in names}
        yield {over: x, **{str(name): middle_of(numbers, "?")
                           for name, numbers in found.items()}}


STILL = [("none", "max", "worst echo, undisturbed"),
         ("reloads", "max", "worst echo, ten reloads"),
         ("reloads", "still", "a batch stands still"),
         ("reloads", "still_cpu", "processor time of that")]


def moves_by_connections():
    rows = read_rows("move")
    for n in sorted({row["connections"] for row in rows}):
        yield {"connections": n, **{
            name: middle_of(values(choose(rows, connections=n,
                                          disturbance=what), column), "?")
            for what, column, name in STILL}}


def write_plots():
    echoes = choose(read_rows("echo"), bytes=64, connect=False, workers=1)
    grown = read_rows("growth")
    at_50 = choose(echoes, connections=50)
    write_table("plot-peers", [
        {"peer": peer,
         "cpu": middle_of(values(choose(at_50, peer=peer), "cpu"), "?")}
        for peer in peers_of(at_50)])
    write_table("plot-connections", list(wide(echoes, "peer", "cpu")))
    write_table("plot-growth-cpu", list(wide(grown, "workers", "cpu")))
    write_table("plot-growth-memory", list(wide(grown, "workers", "whole")))
    write_table("plot-move", list(moves_by_connections()))
    if not shutil.which("gnuplot"):
        print("\nno plots: apt-get install -y gnuplot-nox")
        return
    subprocess.run(["gnuplot", str(servers.ROOT / "bench/plots.gnuplot")],
                   cwd=RESULTS, check=False)
    print(f"\nfigures and plots: {RESULTS.relative_to(servers.ROOT)}/")


def show_quick():
    rows = read_rows("quick")
    show_points("quick", "echo")
    show_bars(cpu_bars(rows), other_bars(rows))


def show_all():
    rows = read_rows("echo")
    show_points("echo", "echo")
    show_points("http", "http")
    show_points("wrk", "http under wrk")
    show_memory()
    show_calls()
    show_faults()
    show_growth()
    show_moves()
    show_bars(cpu_bars(rows), growth_bars(rows), other_bars(rows),
              http_bars(), state_bars(), move_bars())
    show_failures_of("nginx")
    write_plots()
