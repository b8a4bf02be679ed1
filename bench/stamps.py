"""What preforkd-stamps has logged of its moves; stamps.c says in which words."""
import re

import loads

LINE = re.compile(r" (gave|took) (move .*)")


def batches(log):
    """Of each that was taken: how long its connections stood still by the
    clock, from when to when, the processor time of giver and taker for it, and
    how many they were."""
    halves = {}
    for what, said in LINE.findall(log.read_text()):
        row = loads.parse(said)
        halves.setdefault((row["move"], row["batch"]), {})[what] = row
    for half in halves.values():
        if len(half) == 2:
            gave, took = half["gave"], half["took"]
            yield {"from": gave["from"], "to": took["to"],
                   "still": took["to"] - gave["from"],
                   "cpu": gave["cpu"] + took["cpu"], "count": gave["count"]}


def sum_up(log):
    """Of all moves together: how many connections; how long that took from the
    first batch to the last, and the processor time of it; and the longest that
    a batch stood still."""
    found = list(batches(log))
    if not found:
        raise RuntimeError("nothing has moved")
    moved = sum(batch["count"] for batch in found)
    cpu = sum(batch["cpu"] for batch in found)
    return {"moved": moved,
            "moving": max(batch["to"] for batch in found) -
            min(batch["from"] for batch in found),
            "moving_cpu": cpu, "each_cpu": cpu // moved,
            "still": max(batch["still"] for batch in found),
            "still_cpu": max(batch["cpu"] for batch in found)}
