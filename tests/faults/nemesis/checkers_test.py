#!/usr/bin/env python3
"""Every checker passes a small good segment and flags a bad one: none is vacuous. Needs nothing built."""
import copy
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import checkers  # noqa: E402
import plan  # noqa: E402
import report  # noqa: E402

ANN, NAME = "ann@example.com", "workspaces/default/runs/r-1"
REQUEST = "00000000-0000-4000-8000-000000000001"


def shown(state="PENDING", last_seq=1, attempt=0):
    return {"name": NAME, "uid": "u1", "state": state, "last_seq": last_seq, "attempt": attempt, "etag": "",
            "owner": ANN}


def op(kind, inv, ret, code="OK", request=None, **more):
    return {"op": kind, "proc": "c1", "replica": "daemon-1", "owner": ANN, "inv": inv, "ret": ret, "code": code,
            "request": request or {"name": NAME}, **more}


def transition(serial, old, new, old_epoch, new_epoch, active=1, holding=0, last_seq=1):
    return {"serial": serial, "txid": serial, "run_id": 1, "owner_id": 1, "old_state": old, "new_state": new,
            "old_epoch": old_epoch, "new_epoch": new_epoch, "last_seq": last_seq, "active": active, "counter": active,
            "holding": holding}


def audited(serial, seq, epoch, kind, change="INSERT"):
    return {"serial": serial, "txid": serial, "run_id": 1, "seq": seq, "epoch": epoch, "type": kind, "change": change}


def stored(seq, epoch, kind, message=""):
    return {"run_id": 1, "seq": seq, "epoch": epoch, "type": kind, "message": message}


def received(seq, kind, watch=0):
    return {"op": "event", "watch": watch, "uid": "u1", "seq": seq, "digest": f"d{seq}", "type": kind, "ret": seq}


KINDS = ["CREATED", "STARTED", "CHECKPOINT_SAVED", "REQUEUED", "STARTED", "RESUMED", "TRAIN_UPDATED", "CANCELED"]
EPOCHS = [0, 1, 1, 1, 2, 2, 2, 2]
MESSAGES = {"CHECKPOINT_SAVED": "Checkpoint saved: runs/1/checkpoints/ep1-ba2",
            "RESUMED": "Resumed from checkpoint ep1-ba2."}


def good():
    """A run that was created, lost its first attempt after a checkpoint, went on, and was canceled."""
    events = [stored(seq, epoch, kind, MESSAGES.get(kind, ""))
              for seq, (kind, epoch) in enumerate(zip(KINDS, EPOCHS), start=1)]
    return {
        "history": [
            op("create", 10, 20, "UNAVAILABLE", {"request_id": REQUEST, "name": "r-1", "resend": False}),
            op("create", 30, 40, request={"request_id": REQUEST, "name": "r-1", "resend": True}, run=shown()),
            op("get", 50, 60, run=shown("RUNNING", 5, 2)),
            op("list", 61, 65, request={"states": [], "page_size": 50}, runs=[shown("RUNNING", 5, 2)]),
            op("cancel", 70, 80, request={"names": [NAME]}, results=[
                {"name": NAME, "status": 0, "outcome": "STOPPING", "run": shown("TERMINATING", 7, 2)}]),
            op("get", 81, 82, "NOT_FOUND", owner="bob@example.com"),
            op("get", 90, 95, run=shown("STOPPED", 8, 2)),
            op("delete", 100, 110), op("get", 120, 130, "NOT_FOUND"),
            {"op": "stale_write", "code": "OK", "reasons": ["LEASE_LOST"], "request": {"run_id": 1, "epoch": 1}},
            *[received(seq, kind) for seq, kind in enumerate(KINDS, start=1)],
            *[{"op": "feed_event", "owner": ANN, "run": "r-1", "seq": seq, "digest": f"d{seq}", "ret": seq}
              for seq in range(1, len(KINDS) + 1)],
            {"op": "stream_end", "watch": 0, "uid": "u1", "code": "OK", "reason": "", "cursor": 8}],
        "final": [{"uid": "u1", "name": NAME, "owner": ANN, "deleted": False, "code": "OK", "steps": [1, 2, 3, 4, 4, 5, 6, 7, 8],
                   "events": [[seq, f"d{seq}", kind] for seq, kind in enumerate(KINDS, start=1)]}],
        "runs": [{"run_id": 1, "uid": "u1", "name": "r-1", "owner": ANN, "state": "STOPPED", "epoch": 2, "last_seq": 8,
                  "nonce": REQUEST, "deleted": True, "create_time": "2026-01-01T00:00:00"}],
        "owners": [{"owner_id": 1, "email": ANN, "active": 0, "counted": 0}],
        "events": events,
        "transitions": [
            transition(serial, old, new, old_epoch, new_epoch, active, holding, last_seq)
            for serial, old, new, old_epoch, new_epoch, active, holding, last_seq in (
                (2, None, "PENDING", None, 0, 1, 0, 1), (4, "PENDING", "STARTING", 0, 1, 1, 1, 1),
                (6, "STARTING", "RUNNING", 1, 1, 1, 1, 2), (9, "RUNNING", "PENDING", 1, 1, 1, 0, 4),
                (11, "PENDING", "STARTING", 1, 2, 1, 1, 4), (13, "STARTING", "RUNNING", 2, 2, 1, 1, 5),
                (20, "RUNNING", "TERMINATING", 2, 2, 1, 1, 7), (23, "TERMINATING", "STOPPED", 2, 2, 0, 0, 8))],
        "audit_events": [audited(serial, seq, epoch, kind) for serial, seq, kind, epoch in
                         zip((1, 5, 7, 8, 12, 14, 15, 22), range(1, 9), KINDS, EPOCHS)],
        "audit_leases": [{"serial": 3, "run_id": 1, "epoch": 1, "change": "INSERT"},
                         {"serial": 10, "run_id": 1, "epoch": 2, "change": "INSERT"}],
        "attempts": [{"run_id": 1, "epoch": 1, "ended": True, "end_reason": "Attempt 1 was lost (1 of at most 10): Its "
                      "worker was not heard of for too long."},
                     {"run_id": 1, "epoch": 2, "ended": True, "end_reason": "Run canceled."}],
        "leases": [], "queue": [],
        "checkpoints": [{"run_id": 1, "name": "ep1-ba2", "epoch": 1, "step": 2, "path": "runs/1/ep1-ba2",
                         "found": "whole"}],
        "edges": [{"from_state": a, "to_state": b} for a, b in (
            ("PENDING", "STARTING"), ("STARTING", "RUNNING"), ("RUNNING", "PENDING"), ("RUNNING", "TERMINATING"),
            ("TERMINATING", "STOPPED"))],
        "requests": [{"request_id": REQUEST, "run_id": 1}],
        "watchers_left": [], "trainers_left": [], "crashes": [], "amnesty": False,
        "ledger": [{"what": "beat", "run_id": 1, "attempt": 1, "boot_ns": 5 * 10**9},
                   {"what": "start", "run_id": 1, "attempt": 2, "boot_ns": 4 * 10**9}],
        "limits": {"active": 10, "holding": 6, "overlap": 3, "batches": 8}}


def complete_with(steps):
    def apply(s):
        s["runs"][0].update(state="COMPLETED")
        s["final"][0].update(steps=steps)
    return apply


def drop_run(s):
    s["runs"], s["final"] = [], []


def lose_a_read(s):
    s["history"][2].update(code="NOT_FOUND")


def another_run(s):
    s["history"].append(op("create", 41, 45, request={"request_id": REQUEST}, run={**shown(), "uid": "u2"}))


def two_runs(s):
    s["runs"].append({**s["runs"][0], "run_id": 2, "uid": "u2"})


def refuse_all(s):
    for line in s["history"][:2]:
        line.update(code="RESOURCE_EXHAUSTED")


def append(table, *rows):
    return lambda s: s[table].extend(rows)


def change(table, index, **values):
    return lambda s: s[table][index].update(values)


def remove(table, index):
    return lambda s: s[table].pop(index)


def lists_in_another_order(s):
    s["runs"].append({**s["runs"][0], "run_id": 2, "uid": "u2", "name": "r-2", "create_time": "2026-01-02T00:00:00"})
    runs = [shown("RUNNING", 5, 2), {**shown(), "uid": "u2", "name": "workspaces/default/runs/r-2"}]
    s["history"].append(op("list", 66, 67, request={"states": [], "page_size": 50}, runs=runs))


def feed_events(segment):
    return [line for line in segment["history"] if line["op"] == "feed_event"]


def swap_feed_events(segment):
    events = feed_events(segment)
    events[3]["seq"], events[4]["seq"] = events[4]["seq"], events[3]["seq"]


def swap_events(s):
    s["history"][11], s["history"][12] = s["history"][12], s["history"][11]


def lose_the_last_event(s):
    s["history"] = [line for line in s["history"] if not (line["op"] == "event" and line["seq"] == 8)]


# (promise, what is done to the good segment so that its checker has to speak)
BAD = [
    ("D1", drop_run),
    ("D1", change("runs", 0, nonce="another")),
    ("D1", lose_a_read),
    ("D1-deleted", append("history", op("get", 120, 130, run=shown("STOPPED", 8, 2)))),
    ("D2", another_run),
    ("D2", two_runs),
    ("D3", refuse_all),
    ("D4", append("history", op("create", 50, 60, "UNAVAILABLE", {"request_id": REQUEST}))),
    ("D4", append("history", op("create", 50, 60, "INVALID_ARGUMENT", {"request_id": REQUEST},
                                reason="REQUEST_ID_REUSED"))),
    ("D4", drop_run),
    ("C1", append("history", op("get", 96, 97, run=shown("PENDING", 6, 1)))),
    ("C1", append("history", op("get", 96, 97, run=shown("RUNNING", 5, 1)))),
    ("C1", append("history", op("get", 96, 97, run=shown("RUNNING", 8, 2)))),
    ("C2", append("history", op("get", 96, 97, run=shown("RUNNING", 8, 2)))),
    ("C2", append("history", op("get", 66, 67, run=shown("RUNNING", 4, 2)))),
    ("C2", append("history", op("get", 66, 67, run=shown("RUNNING", 5, 1)))),
    ("C3", append("history", op("list", 66, 67, request={"states": [], "page_size": 50}, runs=[]))),
    ("C3", append("history", op("list", 66, 67, request={"states": [], "page_size": 50},
                                runs=[shown("RUNNING", 5, 2)] * 2))),
    ("C3", lists_in_another_order),
    ("C4", append("transitions", transition(30, "STOPPED", "PENDING", 2, 2))),
    ("C4", change("transitions", 2, new_state="COMPLETED")),
    ("C4", remove("transitions", 3)),
    ("C4", remove("transitions", 7)),
    ("S1", append("history", op("get", 66, 67, owner="bob@example.com", run=shown("RUNNING", 5, 2)))),
    ("Q1", change("transitions", 3, active=11, counter=11)),
    ("Q1", change("transitions", 4, holding=7)),
    ("Q2", change("transitions", 3, counter=2)),
    ("Q2", change("owners", 0, active=1)),
    ("L1", change("transitions", 4, new_epoch=3)),
    ("L1", append("audit_leases", {"serial": 16, "run_id": 1, "epoch": 2, "change": "INSERT"})),
    ("L2", change("audit_events", 6, epoch=1)),
    ("L2", append("audit_events", audited(30, 9, 2, "TRAIN_UPDATED"))),
    ("L2-refused", append("history", {"op": "stale_write", "code": "OK", "reasons": [""], "request": {}})),
    ("L3", change("ledger", 0, boot_ns=8 * 10**9)),
    ("L5", append("trainers_left", "4711 python3 scripted_trainer.py")),
    ("L7", lambda s: s.update(amnesty=True)),
    ("E1", remove("events", 3)),
    ("E1", lambda s: s["final"][0]["events"].pop()),
    ("E2", lambda s: s["final"][0]["events"][2].__setitem__(1, "other")),
    ("E9", complete_with([1, 2, 3, 4, 5, 6, 7])),
    ("E9", complete_with([1, 2, 3, 4, 5, 6, 7, 8, 8])),
    ("E9", complete_with([])),
    ("E2", append("audit_events", audited(30, 3, 1, "STARTED", "UPDATE"))),
    ("E5", swap_events),
    ("E5", append("history", received(8, "CANCELED"))),
    ("E5-feed", append("history", {"op": "feed_event", "owner": ANN, "run": "r-1", "seq": 8, "digest": "d8", "ret": 9})),
    ("E5-feed", swap_feed_events),
    ("E5-feed", lambda s: s["runs"][0].update(deleted=False, last_seq=9)),
    ("E5-feed", lambda s: feed_events(s)[2].update(digest="other")),
    ("E5-feed", lambda s: feed_events(s)[2].update(owner="bob@example.com")),
    ("E8", lose_the_last_event),
    ("E8", append("watchers_left", {"uid": "u1", "cursor": 3})),
    ("X1", append("events", stored(9, 2, "COMPLETED"))),
    ("X1", change("runs", 0, state="COMPLETED")),
    ("X1", remove("events", 7)),
    ("X2", change("runs", 0, state="COMPLETED")),
    ("X2", lambda s: s["history"][4]["results"][0].update(outcome="ALREADY_TERMINAL")),
    ("X3", append("audit_leases", {"serial": 40, "run_id": 1, "epoch": 3, "change": "INSERT"})),
    ("X3", append("queue", {"run_id": 1})),
    ("X3", change("attempts", 1, ended=False)),
    ("R1", change("events", 5, message="Resumed from checkpoint ep1-ba1.")),
    ("R1", change("events", 5, type="OTHER")),
    ("K1", change("checkpoints", 0, found="gone")),
    ("K2", change("runs", 0, state="COMPLETED")),
    ("K1", append("ledger", {"what": "damaged", "run_id": 1, "attempt": 2, "boot_ns": 0, "folder": "x"})),
    ("O2", append("history", op("get", 66, 67, "INTERNAL", reason="DATABASE_ERROR"))),
    ("O2", append("history", op("get", 66, 67, "ALREADY_EXISTS", reason="UNIQUE_VIOLATION"))),
    ("O3", change("runs", 0, state="RUNNING")),
    ("P1", append("crashes", "daemon-1 ended by itself with status -6")),
]


class CheckersTest(unittest.TestCase):
    def test_a_good_segment_passes(self):
        self.assertEqual(checkers.run_all(good()), [])

    def test_each_bad_segment_is_flagged_by_its_checker(self):
        for number, (promise, spoil) in enumerate(BAD):
            with self.subTest(number=number, promise=promise):
                segment = copy.deepcopy(good())
                spoil(segment)
                self.assertNotEqual(list(checkers.CHECKERS[promise](segment)), [])

    def test_every_checker_has_a_bad_segment_and_says_what_it_checks(self):
        self.assertEqual(set(checkers.CHECKERS), {promise for promise, _ in BAD})
        self.assertEqual([name for name, check in checkers.CHECKERS.items() if not check.__doc__], [])

    def test_what_is_counted(self):
        counted = checkers.counted(good())
        for what in report.NOT_VACUOUS:
            self.assertIn(what, counted)
        for what in ("leases lost", "calls in doubt", "stale writes refused"):
            self.assertEqual(counted[what], 1, what)

    def test_calls_at_the_same_time_may_see_either_order(self):
        segment = good()
        segment["history"].append(op("get", 55, 66, run=shown("RUNNING", 4, 2)))
        self.assertEqual(list(checkers.CHECKERS["C2"](segment)), [])


class PlanTest(unittest.TestCase):
    def test_a_seed_is_a_plan(self):
        import faults
        kinds = {f"k{i}": faults.Kind(f"k{i}", faults.GROUPS[i % 5], None, i % 2 == 0, None) for i in range(20)}
        self.assertEqual(plan.make(7, 100, kinds), plan.make(7, 100, kinds))
        self.assertNotEqual(plan.make(7, 100, kinds), plan.make(8, 100, kinds))
        segments = plan.make(7, 100, kinds)
        self.assertEqual(sum(len(step["kinds"]) for segment in segments for step in segment["steps"]), 100)
        for segment in segments:
            if segment["amnesty"]:
                self.assertTrue(all(kinds[name].spares_leases for step in segment["steps"] for name in step["kinds"]))

    def test_reports_add_up(self):
        one = {"seeds": [1], "faults": {"a": 1}, "totals": {"runs": 2, "by": {"x": 1}}, "proxies": {},
               "recovery": [0.1], "violations": [], "skipped": {}, "seconds": 1, "segments": 1}
        merged = report.merge([one, copy.deepcopy(one)])
        self.assertEqual((merged["faults"], merged["totals"]), ({"a": 2}, {"runs": 4, "by": {"x": 2}}))
        self.assertEqual(report.status(merged), 2)
        self.assertEqual(report.status({**merged, "violations": ["x"]}), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
