#!/usr/bin/env python3
"""The whole chain notices what is done to a real database behind everybody's back, promise by promise.

checkers_test.py holds the checkers against segments that were made up. Here users have worked with the real programs
for some seconds, all is well, and then one row after the other is spoiled and looked at as after any segment.
"""
import pathlib
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import campaign  # noqa: E402
import checkers  # noqa: E402
import dump  # noqa: E402

WORK_SECONDS = 8
# A run that has been trained: it was leased, and has events of an attempt.
RUN = "(select max(run_id) from runs where epoch > 0)"
# What no trigger of the product would let pass; those of the witness see nothing of it either.
UNGUARDED = "set session_replication_role = replica;"
# (promise, what spoils it, what mends it)
SABOTAGE = [
    ("Q2", "update owners set active = active + 1 where owner_id = (select min(owner_id) from runs)",
     "update owners set active = active - 1 where owner_id = (select min(owner_id) from runs)"),
    ("E1", f"{UNGUARDED} update runs set last_seq = last_seq + 1 where run_id = {RUN}",
     f"{UNGUARDED} update runs set last_seq = last_seq - 1 where run_id = {RUN}"),
    ("D1", f"{UNGUARDED} update runs set uid = gen_random_uuid() where run_id = {RUN}", None),
    ("X1", f"{UNGUARDED} update run_events set type = 'OTHER' where run_id = {RUN} and seq = "
           f"(select last_seq from runs where run_id = {RUN})", None),
    ("X3", f"insert into leases select run_id, epoch, worker_id, 1, now() from run_attempts where run_id = {RUN} "
           "limit 1",
     f"delete from leases where run_id = {RUN}"),
    ("C4", f"{UNGUARDED} update runs set state = 'RUNNING', end_time = null, failure = null where run_id = {RUN}",
     None),
    ("E2", f"update run_events set message = 'another' where run_id = {RUN} and seq = 2", None),
    ("L2", f"insert into run_events values ({RUN}, 1000000, now(), 1, 'OTHER', '', '')", None),
    ("L1", f"update audit_transitions set new_epoch = new_epoch + 5 where run_id = {RUN} and new_state = 'STARTING'",
     None),
    ("Q1", "update audit_transitions set active = 11 where serial = (select max(serial) from audit_transitions)", None),
]


class SabotageTest(unittest.TestCase):
    def test_the_campaign_notices(self):
        if not campaign.GRPC_PYTHON.exists():
            self.fail("build/clients is not set up: run tests/clients/setup.sh")
        one = campaign.Campaign(1, [], {}, None)
        try:
            one.come_up()
            one.load.do("go")
            time.sleep(WORK_SECONDS)
            one.quiesce()
            found = one.gather({"amnesty": True, "steps": []})
            self.assertEqual(checkers.run_all(found), [], "without a fault something is wrong already")
            self.assertGreater(checkers.counted(found)["events delivered"], 20)
            for promise, spoil, mend in SABOTAGE:
                with self.subTest(promise=promise):
                    one.stack.sql(spoil)
                    spoiled = {**found, **dump.take(one.stack, one.marks)}
                    self.assertNotEqual(list(checkers.CHECKERS[promise](spoiled)), [], spoil)
                    if mend:
                        one.stack.sql(mend)
            self.check_a_trainer_is_seen(one)
        finally:
            if one.load:
                one.load.end()
            left = one.stack.destroy()
            one.stack.remove()
        self.assertEqual(left, [])

    def check_a_trainer_is_seen(self, one):
        """L5 looks at the process table."""
        self.assertEqual(one.stack.trainers(), [])
        left = subprocess.Popen(["/usr/bin/python3", "-c", "import time; time.sleep(60)", "scripted_trainer.py"],
                                cwd=one.stack.folder / "data")
        try:
            self.assertEqual([process.pid for process in one.stack.trainers()], [left.pid])
        finally:
            left.kill()
            left.wait()


if __name__ == "__main__":
    unittest.main(verbosity=2)
