#!/usr/bin/env python3
"""Says what runs came to, from their events alone.

    quickstart_summary.py FINETUNE PAIRS RUN [RUN ...]
    quickstart_summary.py --prompts PAIRS

Shows the evaluation loss of each run, and what the model answered to its evaluation prompts before and after, beside
what the held-out PAIRS have. Exits with 1 unless every run is COMPLETED and its evaluation loss has fallen. With
--prompts it prints the prompts to ask, a line each.
"""
import json
import pathlib
import subprocess
import sys

PROMPTS = 3
SHOWN = 88


def read_pairs(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text("utf-8").splitlines()]


def prompts_of(pairs):
    """Those with the longest answers: there is the most to see."""
    fitting = [pair for pair in pairs if len(pair["prompt"]) < 40 and len(pair["response"]) <= SHOWN]
    return [pair["prompt"] for pair in sorted(fitting, key=lambda pair: -len(pair["response"]))[:PROMPTS]]


def ask(finetune, *args):
    out = subprocess.run([finetune, "--context", "dev", *args, "-o", "json"], capture_output=True, check=True).stdout
    return json.loads(out)


def line(text):
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[:SHOWN - 3] + "..."


def show_answers(events, known):
    answers = [event["prompt_answer"] for event in events if event["type"] == "PROMPT_ANSWERED"]
    for prompt in dict.fromkeys(answer["prompt"] for answer in answers):
        said = {answer["when"]: answer["response"] for answer in answers if answer["prompt"] == prompt}
        print(f"     {prompt}")
        for when, title in (("BEFORE", "before"), ("AFTER", "after")):
            print(f"       {title:<8} {line(said.get(when, '(nothing)'))}")
        print(f"       {'held out':<8} {line(known.get(prompt, ''))}")


def main() -> int:
    if sys.argv[1] == "--prompts":
        print("\n".join(prompts_of(read_pairs(sys.argv[2]))))
        return 0
    good = True
    finetune, pairs = sys.argv[1], read_pairs(sys.argv[2])
    for name in sys.argv[3:]:
        run = ask(finetune, "run", "get", name)
        events = ask(finetune, "run", "events", name, "--limit", "0")["events"]
        losses = [e["evaluation"]["loss"] for e in events if e["type"] == "EVALUATED"]
        checkpoints = [e for e in events if e["type"] == "CHECKPOINT_SAVED"]
        fell = len(losses) >= 2 and losses[-1] < losses[0]
        good = good and fell and run["state"] == "COMPLETED"
        change = f"eval loss {losses[0]:.3f} -> {losses[-1]:.3f}" if len(losses) >= 2 else "no evaluation"
        print(f"   {run['spec']['experiment_path']:<24} {run['state']:<10} {change}"
              f"   {len(checkpoints)} checkpoints, {len(events)} events")
        if not fell:
            print("   the evaluation loss has not fallen", file=sys.stderr)
        show_answers(events, {pair["prompt"]: pair["response"] for pair in pairs})
    return 0 if good else 1


sys.exit(main())
