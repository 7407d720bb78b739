#!/usr/bin/env python3
"""Adds the reports of campaigns up and says them in words: `report.py FOLDER...`, each searched for report.json.

Exit status 1 with violations, 2 when what was to be seen at least once was not.
"""
import collections
import json
import pathlib
import sys

# A campaign in which one of these is 0 has shown nothing.
NOT_VACUOUS = ("leases lost", "streams resumed", "calls in doubt", "stale writes refused", "quota refusals")


def add(total, more):
    for key, value in more.items():
        if isinstance(value, dict):
            total[key] = add(total.get(key, {}), value)
        else:
            total[key] = total.get(key, 0) + value
    return total


def merge(reports):
    """One report of many."""
    merged = {"seeds": [], "totals": {}, "faults": {}, "proxies": {}, "recovery": [], "violations": [], "skipped": {},
              "seconds": 0, "segments": 0}
    for one in reports:
        merged["seeds"] += one["seeds"]
        for key in ("totals", "faults", "proxies"):
            merged[key] = add(merged[key], one[key])
        for key in ("recovery", "violations"):
            merged[key] += one[key]
        merged["skipped"].update(one["skipped"])
        merged["seconds"] += one["seconds"]
        merged["segments"] += one["segments"]
    return merged


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def vacuous(report):
    return [what for what in NOT_VACUOUS if not report["totals"].get(what)]


def status(report):
    return 1 if report["violations"] else 2 if vacuous(report) else 0


def text(report):
    lines = [f"{sum(report['faults'].values())} faults of {len(report['faults'])} kinds in {report['segments']} "
             f"segments, {report['seconds'] / 60:.1f} min, seeds {' '.join(map(str, report['seeds']))}"]
    lines += ["", "Faults"] + [f"  {count:6} {name}" for name, count in sorted(report["faults"].items())]
    lines += [f"  not here: {name}: {why}" for name, why in sorted(report["skipped"].items())]
    lines += ["", "Seen and checked"]
    for name, value in report["totals"].items():
        if isinstance(value, dict):
            most = collections.Counter(value).most_common()
            lines.append(f"  {name}: " + ", ".join(f"{key} {count}" for key, count in most))
        else:
            lines.append(f"  {name}: {value}")
    lines.append("  at the proxies: " + ", ".join(f"{key} {count}" for key, count in sorted(report["proxies"].items())))
    seconds = report["recovery"]
    lines.append(f"  first acknowledged write through each daemon after a heal: p50 {percentile(seconds, 0.5):.2f} s, "
                 f"p99 {percentile(seconds, 0.99):.2f} s, longest {max(seconds, default=0):.2f} s, of {len(seconds)}")
    lines += ["", f"Violations: {len(report['violations'])}"] + [f"  {one}" for one in report["violations"]]
    if missing := vacuous(report):
        lines.append(f"VOID: never seen: {', '.join(missing)}")
    return "\n".join(lines)


def main():
    files = sorted(path for folder in sys.argv[1:] for path in pathlib.Path(folder).rglob("report.json"))
    merged = merge([json.loads(path.read_text()) for path in files])
    print(text(merged))
    return status(merged)


if __name__ == "__main__":
    sys.exit(main())
