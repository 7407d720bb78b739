#!/usr/bin/env python3
"""Says what two runs came to, from their events alone.

    quickstart_summary.py FINETUNE RUN [RUN ...]

Exits with 1 unless every run is COMPLETED and its evaluation loss has fallen.
"""
import json
import subprocess
import sys


def ask(finetune, *args):
    out = subprocess.run([finetune, "--context", "dev", *args, "-o", "json"], capture_output=True, check=True).stdout
    return json.loads(out)


def main() -> int:
    good = True
    finetune = sys.argv[1]
    for name in sys.argv[2:]:
        run = ask(finetune, "run", "get", name)
        events = ask(finetune, "run", "events", name)["events"]
        losses = [e["evaluation"]["loss"] for e in events if e["type"] == "EVALUATED"]
        checkpoints = [e for e in events if e["type"] == "CHECKPOINT_SAVED"]
        fell = len(losses) >= 2 and losses[-1] < losses[0]
        good = good and fell and run["state"] == "COMPLETED"
        change = f"eval loss {losses[0]:.3f} -> {losses[-1]:.3f}" if len(losses) >= 2 else "no evaluation"
        print(f"   {run['spec']['experiment_path']:<24} {run['state']:<10} {change}"
              f"   {len(checkpoints)} checkpoints, {len(events)} events")
        if not fell:
            print("   the evaluation loss has not fallen", file=sys.stderr)
    return 0 if good else 1


sys.exit(main())
