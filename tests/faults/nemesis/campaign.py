#!/usr/bin/env python3
"""Breaks an installation again and again while users work with it, and checks afterwards that every promise was kept.

`campaign.py --seed N --faults M [--kinds a,b] [--without c,d] [--out DIR]`, or `--seeds 1-20` for several, one after
the other; a seed that has a report in DIR already is not run again. The programs are those in $FINETUNED_BIN. Exit
status 0; 1 with violations; 2 when the campaign was void (report.py).
"""
import argparse
import collections
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback

from paths import GRPC_PYTHON, HERE, ROOT
from parts import die_with_parent
import checkers
import dump
import faults
import history
import plan
import report
import scripted_trainer
import stack as stacks
from support import wait_until

# From the end of the faults to the end of every run.
QUIET_SECONDS = 120
STREAM_END_SECONDS = 20
RECOVER_SECONDS = 20
LOAD_PAUSE = 0.25
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|runtime error:|LeakSanitizer")


class LoadProcess:
    """The steering of load.py."""

    def __init__(self, stack, seed):
        self.stubs = stack.folder / "stubs"
        self.stubs.mkdir()
        stacks.run([GRPC_PYTHON, "-m", "grpc_tools.protoc", "-I", ROOT / "proto", "-I", ROOT / "third_party/googleapis",
                    f"--python_out={self.stubs}", f"--grpc_python_out={self.stubs}",
                    *sorted((ROOT / "proto/finetuned/v1").glob("*.proto"))])
        self.history = stack.folder / "history.jsonl"
        self.history.touch()
        config = stack.folder / "load.json"
        config.write_text(json.dumps({
            "servers": {name: stack.client_ports[name] for name in stacks.DAEMONS}, "tokens": stack.tokens,
            "seed": seed, "prefix": f"n{seed}",
            "history": str(self.history), "data": f"{stack.folder}/data", "pause": LOAD_PAUSE}))
        with open(stack.log_of("load"), "ab") as log:
            self.process = subprocess.Popen(
                [GRPC_PYTHON, "-B", HERE / "load.py", config], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, text=True, env={**os.environ, "PYTHONPATH": f"{self.stubs}", "GRPC_VERBOSITY": "NONE"},
                preexec_fn=lambda: die_with_parent(signal.SIGKILL))

    def do(self, what, **more):
        self.process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise AssertionError(f"the load has ended with {self.process.wait()}")
        return json.loads(answer)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Campaign:
    """One plan on one installation."""

    def __init__(self, seed, segments, kinds, out):
        self.seed, self.segments, self.kinds, self.out = seed, segments, kinds, out
        self.kinds_known = faults.load_all()
        self.stack = stacks.Stack()
        self.load = None
        self.marks = dump.Marks()
        self.read_to = 0
        self.began = time.monotonic()
        self.counts = collections.Counter()
        self.totals, self.recovery, self.violations = {}, [], []
        self.checked = 0

    def say(self, text):
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", flush=True)

    def run(self):
        """The report."""
        try:
            self.come_up()
            for number, segment in enumerate(self.segments, start=1):
                self.run_segment(number, segment)
                if self.violations:
                    break
        except Exception:  # A fault of the harness fails the campaign, and does not hide what was found before.
            self.violations.append(f"the harness failed: {traceback.format_exc()}")
        finally:
            proxied = self.proxied()
            if self.load:
                self.load.end()
            left = self.stack.destroy()
            self.violations += [f"P2: still there after everything was told to end: {one}" for one in left]
            self.violations += [f"P1: {path.name}: {SANITIZER.search(text)[0]}" for path in self.stack.logs()
                                if SANITIZER.search(text := path.read_text(errors="replace"))]
            self.keep_or_remove()
        return {"seeds": [self.seed], "faults": dict(self.counts), "totals": self.totals, "proxies": proxied,
                "recovery": self.recovery, "violations": self.violations, "skipped": {},
                "seconds": time.monotonic() - self.began, "segments": self.checked}

    def come_up(self):
        self.stack.start()
        self.load = LoadProcess(self.stack, self.seed)
        self.load.do("prepare")
        self.world = faults.World(self.stack, self.load)

    def proxied(self):
        with contextlib.suppress(Exception):
            return self.stack.proxies.counts()
        return {}

    # ---- Faults.

    def run_segment(self, number, segment):
        self.load.do("go")
        for step in segment["steps"]:
            time.sleep(step["pause"])
            self.run_step(step)
        # Whatever the plan, somebody who has lost a lease tries to write.
        faults.Injected(self.kinds_known["stale_writers"], self.world, random.Random(number)).heal()
        self.quiesce()
        self.check(number, segment)

    def run_step(self, step):
        chance = random.Random(step["chance"])
        began = time.monotonic()
        injected = []
        try:
            for name in step["kinds"]:
                injected.append(faults.Injected(self.kinds[name], self.world, random.Random(chance.random())))
                self.counts[name] += 1
            time.sleep(max(one.seconds for one in injected))
        finally:
            for one in chance.sample(injected, len(injected)):
                one.heal()
        lasted = time.monotonic() - began
        answered = self.load.do("probe", seconds=RECOVER_SECONDS)["seconds"]
        self.recovery += answered.values()
        if max(answered.values()) >= RECOVER_SECONDS:
            self.violations.append(f"O3: after {'+'.join(step['kinds'])} no answer for {RECOVER_SECONDS} s: {answered}")
        self.say(f"{'+'.join(step['kinds'])}: {lasted:.1f} s, answers after {max(answered.values()):.2f} s")

    def quiesce(self):
        """No faults, no new work: every run has to come to its end."""
        self.load.do("hush")
        self.stack.proxies.do("heal", edge="*")
        began = time.monotonic()

        def all_terminal():
            self.load.do("drain")
            return self.stack.sql("select count(*) from runs where end_time is null") == "0"
        try:
            wait_until("every run is terminal", all_terminal, QUIET_SECONDS, pause=0.5)
        except AssertionError:
            self.say(f"not every run has come to its end in {QUIET_SECONDS} s")
        self.quiet_seconds = time.monotonic() - began

    # ---- Checks.

    def gather(self, segment):
        """What the checkers look at; once for each segment, because the load forgets its runs."""
        settled = self.load.do("settle_watchers", seconds=STREAM_END_SECONDS, runs=self.runs_of_owners())
        final = self.stack.folder / "final.jsonl"
        self.load.do("final", out=str(final))
        with contextlib.suppress(AssertionError):
            wait_until("the trainers are gone", lambda: not self.stack.trainers(), stacks.GRACE + 5)
        found = {
            **dump.take(self.stack, self.marks), "history": self.new_history(), "final": history.read(final),
            "watchers_left": settled["left"], "trainers_left": [repr(one) for one in self.stack.trainers()],
            "crashes": self.stack.supervisor.crashes[:], "ledger": self.ledger(), "amnesty": segment["amnesty"],
            "limits": {"active": stacks.ACTIVE_LIMIT, "holding": stacks.HOLDING_LIMIT, "overlap": stacks.OVERLAP,
                       "batches": scripted_trainer.BATCHES}, "steps": segment["steps"]}
        for row in found["checkpoints"]:
            row["found"] = self.look_at_checkpoint(row)
        self.stack.supervisor.crashes.clear()
        return found

    def runs_of_owners(self):
        """The last number of each run that is not deleted, by owner and name."""
        return json.loads(self.stack.sql(
            "select coalesce(json_object_agg(email, runs), '{}') from (select o.email, json_object_agg(r.name, r.last_seq) "
            "as runs from runs r join owners o using (owner_id) where r.delete_time is null group by o.email) s"))

    def look_at_checkpoint(self, row):
        """`whole`, also where a fault has spoiled it on purpose."""
        if row["path"] in self.stack.spoiled:
            return "whole"
        try:
            weights = (self.stack.artifacts / row["path"] / "weights.bin").read_bytes()
        except FileNotFoundError:
            return "gone"
        return "whole" if weights == scripted_trainer.weights(row["run_id"], row["step"]) else "damaged"

    def check(self, number, segment):
        found = self.gather(segment)
        violations = [f"segment {number}: {one}" for one in checkers.run_all(found)]
        counted = checkers.counted(found)
        self.totals = report.add(self.totals, counted)
        self.violations += violations
        self.checked += 1
        self.marks.move(self.stack)
        self.say(f"segment {number}{' (amnesty)' if segment['amnesty'] else ''}: quiet after {self.quiet_seconds:.1f} "
                 f"s, {counted['operations']} operations, {counted['runs']} runs, {counted['attempts']} attempts, "
                 f"{counted['events checked']} events, {counted['leases lost']} leases lost; "
                 f"{len(violations)} violations")
        for one in violations[:20]:
            self.say(f"  {one}")
        if violations:
            (self.stack.folder / f"segment-{number}.json").write_text(json.dumps(found, indent=1))

    def new_history(self):
        with open(self.load.history, encoding="utf-8") as file:
            file.seek(self.read_to)
            lines = [json.loads(line) for line in file]
            self.read_to = file.tell()
        return lines

    def ledger(self):
        if not self.stack.ledger.exists():
            return []
        return [line for line in history.read(self.stack.ledger) if line["run_id"] > self.marks.run_id]

    def keep_or_remove(self):
        """What a violation can be understood by; otherwise nothing is left."""
        if self.violations and self.out:
            for path in [*self.stack.logs(), *self.stack.folder.glob("segment-*.json"),
                         self.stack.folder / "history.jsonl", self.stack.ledger]:
                if path.exists():
                    shutil.copy(path, self.out / path.name)
            self.say(f"logs and histories are in {self.out}")
        self.stack.remove()


def choose(args, stack_like):
    """(kinds that run, why others do not)"""
    known = faults.load_all()
    wanted = args.kinds.split(",") if args.kinds else sorted(known)
    without = args.without.split(",") if args.without else []
    unknown = [name for name in [*wanted, *without] if name not in known]
    if unknown:
        raise SystemExit(f"no such kinds: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    skipped = {name: why for name in wanted if (why := known[name].needs(stack_like))}
    skipped.update({name: "left out by --without" for name in without})
    return {name: known[name] for name in wanted if name not in skipped}, skipped


class Host:
    """What of a stack can be known before it is there."""

    def __init__(self):
        self.mounted = self._may_mount()

    @staticmethod
    def _may_mount():
        return os.geteuid() == 0 and subprocess.run(
            ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode == 0


def run_seed(seed, args, kinds, skipped):
    out = None
    if args.out:
        out = pathlib.Path(args.out) / f"seed-{seed}"
        if (out / "report.json").exists():
            print(f"seed {seed}: done before")
            return json.loads((out / "report.json").read_text())
        out.mkdir(parents=True, exist_ok=True)
    segments = plan.make(seed, args.faults, kinds)
    print(f"seed {seed}, the plan:\n  " + "\n  ".join(plan.words(segments)), flush=True)
    found = Campaign(seed, segments, kinds, out).run()
    found["skipped"] = skipped
    if out:
        (out / "plan.json").write_text(json.dumps(segments, indent=1))
        (out / "report.json").write_text(json.dumps(found, indent=1))
        (out / "report.txt").write_text(report.text(found) + "\n")
    return found


def seeds_of(args):
    first, _, last = (args.seeds or str(args.seed)).partition("-")
    return range(int(first), int(last or first) + 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", help="a range, such as 1-20")
    parser.add_argument("--faults", type=int, default=30, help="of each seed")
    parser.add_argument("--kinds", help="only these, separated by commas")
    parser.add_argument("--without", help="all but these")
    parser.add_argument("--out", help="where reports go, and what violations left behind")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    kinds, skipped = choose(args, Host())
    merged = report.merge([run_seed(seed, args, kinds, skipped) for seed in seeds_of(args)])
    print("\n" + report.text(merged))
    return report.status(merged)


if __name__ == "__main__":
    sys.exit(main())
