"""What the database holds of one segment of a campaign, as plain lists of objects for the checkers.

A segment ends when every run is terminal, so the next one's runs are all new: those above a mark.
"""
import json

RUNS = """select r.run_id, r.uid, r.name, o.email as owner, r.state, r.epoch, r.last_seq, r.labels->>'nonce' as nonce,
       r.delete_time is not null as deleted, r.create_time
  from runs r join owners o using (owner_id) where r.run_id > {run_id}"""
OWNERS = """select o.owner_id, o.email, o.active, count(r.run_id) as counted
  from owners o left join runs r on r.owner_id = o.owner_id
       and r.state in ('PENDING', 'QUEUED', 'STARTING', 'RUNNING', 'TERMINATING') group by o.owner_id"""
TABLES = {
    "runs": RUNS,
    "owners": OWNERS,
    "events": "select run_id, seq, epoch, type, message, event_time from run_events where run_id > {run_id} "
              "order by run_id, seq",
    "transitions": "select * from audit_transitions where serial > {serial} order by serial",
    "audit_events": "select * from audit_events where serial > {serial} order by serial",
    "audit_leases": "select * from audit_leases where serial > {serial} order by serial",
    "attempts": "select run_id, epoch, worker_id, end_time is not null as ended, end_reason from run_attempts "
                "where run_id > {run_id} order by run_id, epoch",
    "checkpoints": "select run_id, name, epoch, step, path from checkpoints where run_id > {run_id}",
    "leases": "select run_id, epoch from leases",
    "queue": "select run_id from run_queue",
    "edges": "select from_state, to_state from run_state_edges",
    "requests": "select request_id, run_id from create_requests where run_id > {run_id}",
}


class Marks:
    """Where the segment before has ended."""

    def __init__(self):
        self.run_id = self.serial = 0

    def move(self, stack):
        self.run_id, self.serial = map(int, stack.sql(
            "select coalesce((select max(run_id) from runs), 0), last_value from audit_serial").split("|"))


def take(stack, marks):
    """All tables at one moment."""
    queries = [f"select coalesce(json_agg(t), '[]') from ({query.format(run_id=marks.run_id, serial=marks.serial)}) t;"
               for query in TABLES.values()]
    text = stack.sql("begin isolation level repeatable read read only;\n\\o /dev/stdout\n"
                     + "\n\\echo --next\n".join(queries) + "\ncommit;")
    found = [json.loads(part) for part in text.split("--next\n")]
    return {"marks": vars(marks).copy(), **dict(zip(TABLES, found))}
