#!/usr/bin/env python3
"""Delivers very many events to very many subscribers while daemons, Postgres and the subscribers are killed and stopped.

`delivery.py [--deliveries N] [--subscribers N] [--seed N] [--out FILE]`. Trainers of several runs say thousands of
lines; every subscriber follows all runs in one stream. At the end each must have had every event of every run once and in
order: 0 lost, 0 doubled, 0 out of order. Half of it goes with every notification of Postgres dropped. The programs are those in $FINETUNED_BIN. Exit status 0; 1 with violations.
"""
import argparse
import collections
import json
import os
import random
import signal
import subprocess
import sys
import time

from paths import GRPC_PYTHON, HERE, ROOT
from parts import die_with_parent
import faults
import stack as stacks
from support import wait_until

# What may happen while events come; nothing that takes a trainer down, of which there are few.
KINDS = ("daemon_killed", "daemons_killed_in_turn", "daemons_all_killed", "daemon_terminated", "daemon_frozen_short",
         "pg_restarted_fast", "pg_restarted_immediate", "pg_backend_killed", "pg_backends_terminated",
         "pg_statements_canceled", "notifications_dropped", "client_connections_reset", "client_refused", "client_answers_lost",
         "client_flapping", "client_half_open", "subscribers_stopped", "subscribers_left")
RUNS = 8
PAUSE_SECONDS = 1.5
CATCH_UP_SECONDS = 600


class Crowd:
    """The steering of subscribers.py."""

    def __init__(self, stack, count, seed):
        stubs = stack.folder / "stubs"
        stubs.mkdir()
        stacks.run([GRPC_PYTHON, "-m", "grpc_tools.protoc", "-I", ROOT / "proto", "-I", ROOT / "third_party/googleapis",
                    f"--python_out={stubs}", f"--grpc_python_out={stubs}",
                    *sorted((ROOT / "proto/finetuned/v1").glob("*.proto"))])
        config = stack.folder / "subscribers.json"
        config.write_text(json.dumps({"servers": {name: stack.client_ports[name] for name in stacks.DAEMONS},
                                      "token": stack.admin_token, "count": count, "seed": seed}))
        with open(stack.log_of("subscribers"), "ab") as log:
            self.process = subprocess.Popen(
                [GRPC_PYTHON, "-B", HERE / "subscribers.py", config], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, text=True, env={**os.environ, "PYTHONPATH": f"{stubs}", "GRPC_VERBOSITY": "NONE"},
                preexec_fn=lambda: die_with_parent(signal.SIGKILL))

    def do(self, what, **more):
        self.process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.kill()
        self.process.wait()


def tokens_of_owners(stack):
    return [stack.tokens[owner] for owner in sorted(stack.tokens)]


def deliver(stack, options, say):
    """The report's lines and the violations."""
    chance = random.Random(options.seed)
    crowd = Crowd(stack, options.subscribers, options.seed)
    world = faults.World(stack, None)
    known = faults.load_all()
    lines = options.deliveries // options.subscribers // RUNS
    # Polling alone has to do for the first half.
    stack.proxies.do("set", edge="pg:*", always_drop_notifications=True)
    folder = stack.folder / "data" / f"chatty-{lines}"
    folder.mkdir()
    (folder / "1").touch()
    owners = tokens_of_owners(stack)
    runs = crowd.do("create", data=str(folder / "1"), tokens=[owners[i % len(owners)] for i in range(RUNS)])["runs"]
    counts = collections.Counter()
    began = time.monotonic()

    def ended():
        return int(stack.sql("select count(*) from runs where state = 'COMPLETED'")) == len(runs)

    def delivered():
        return crowd.do("progress")["delivered"]

    dropped = None
    while True:
        if dropped is None and delivered() * 2 >= options.deliveries:
            dropped = stack.proxies.do("counts")["counts"].get("notifications dropped", 0)
            stack.proxies.do("set", edge="pg:*", always_drop_notifications=False)
        kind = chance.choice(KINDS)
        counts[kind] += 1
        if kind.startswith("subscribers"):
            crowd.do("stop" if kind == "subscribers_stopped" else "leave", count=max(1, options.subscribers // 10))
            time.sleep(PAUSE_SECONDS)
        else:
            injected = faults.Injected(known[kind], world, chance)
            time.sleep(min(injected.seconds, 5))
            injected.heal()
        time.sleep(chance.uniform(0, PAUSE_SECONDS))
        if sum(counts.values()) % 10 == 0:
            say(f"{sum(counts.values())} faults, {delivered():,} events delivered")
        if ended() and delivered() >= options.deliveries:
            break
        if time.monotonic() - began > CATCH_UP_SECONDS * 6:
            break
    if dropped is None:  # It was over before half of it was looked at.
        dropped = stack.proxies.do("counts")["counts"].get("notifications dropped", 0)
    seqs = {f"workspaces/default/runs/{name}": int(seq) for name, seq in
            (line.split("|") for line in stack.sql("select name, last_seq from runs").splitlines())}
    left = {}

    def all_there():
        left.update(crowd.do("check", runs=seqs))
        return left["count"] == 0

    violations = []
    try:
        wait_until("every subscriber has everything", all_there, CATCH_UP_SECONDS)
    except AssertionError:
        violations.append(f"lost: {left['count']} runs of subscribers, e.g. {left['behind']}")
    told = crowd.do("progress")
    crowd.end()
    if not dropped:
        violations.append("no notification was dropped in the first half, so it has shown nothing")
    if told["wrong"]:
        violations.append(f"{told['wrong']} events came twice or in another order")
    expected = sum(seqs.values()) * options.subscribers
    if told["delivered"] != expected:
        violations.append(f"{told['delivered']} events were delivered, {expected} there are for all")
    seconds = time.monotonic() - began
    return [f"Seed {options.seed}: {told['delivered']:,} events delivered to {options.subscribers} subscribers of "
            f"{len(runs)} runs with {sum(seqs.values()):,} events, in {seconds:.0f} s over {told['streams']} streams.",
            f"{sum(counts.values())} faults of {len(counts)} kinds: "
            + ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items())) + ".",
            f"In the first half every notification between daemons was dropped, {dropped} of them.",
            "Streams ended with: " + ", ".join(f"{code} {count}" for code, count in sorted(told["endings"].items())) + ".",
            f"{len(violations)} violations" + "".join(f"\n  {one}" for one in violations)], violations


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deliveries", type=int, default=200_000, help="events over all subscribers, at least")
    parser.add_argument("--subscribers", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", help="where the report is written, too")
    options = parser.parse_args()
    began = time.monotonic()
    stack = stacks.Stack()
    try:
        stack.start()
        report, violations = deliver(stack, options,
                                     lambda text: print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True))
    finally:
        stack.destroy()
        stack.remove()
    text = "\n".join(report) + "\n"
    print(text)
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            file.write(text)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
