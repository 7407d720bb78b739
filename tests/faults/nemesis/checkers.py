"""The promises, each as a pure function from what a segment of a campaign left behind to a list of violations.

A segment is a dictionary: `history` (load.py), `final` (every run's events as the API tells them afterwards), the
tables of dump.py, `trainers_left`, `crashes`, `ledger` (the trainers' own words), `limits` (active, holding) and
`amnesty` (only outages shorter than self_stop were injected). checkers_test.py holds every checker against a
good and a bad segment.
"""
import collections

import history as words
from history import TERMINAL, UNKNOWN

ACTIVE = {"PENDING", "QUEUED", "STARTING", "RUNNING", "TERMINATING"}
TERMINAL_EVENTS = {"COMPLETED", "FAILED", "CANCELED"}
LOST = ("Its worker was not heard of for too long.", "came back without it", "could not reach the service for too long")
# What no client may ever see.
BROKEN_CODES = {"INTERNAL", "UNKNOWN", "DATA_LOSS", "UNIMPLEMENTED"}
BROKEN_REASONS = {"ILLEGAL_TRANSITION", "DATABASE_ERROR", "SCHEMA_MISMATCH", "UNIQUE_VIOLATION"}
CHECKERS = {}


def checker(promise):
    """Registers a function as the check of a promise, which is its docstring."""
    def register(function):
        CHECKERS[promise] = function
        return function
    return register


def run_all(segment):
    """[`promise: violation`]"""
    return [f"{promise}: {violation}" for promise, check in CHECKERS.items() for violation in check(segment)]


# ---- Ways to look at a segment.

def operations(segment, *kinds):
    return [line for line in segment["history"] if line["op"] in kinds]


def by(lines, key):
    groups = collections.defaultdict(list)
    for line in lines:
        groups[line[key]].append(line)
    return groups


def creates(segment):
    """request_id -> its calls."""
    groups = collections.defaultdict(list)
    for line in operations(segment, "create"):
        groups[line["request"]["request_id"]].append(line)
    return groups


def sightings(segment):
    """(inv, ret, run as it was shown) of every run in every answer."""
    for line in segment["history"]:
        if line.get("code") != "OK":
            continue
        for run in [line.get("run"), *line.get("runs", ()), *(one["run"] for one in line.get("results", ()))]:
            if run and run["uid"]:
                yield line["inv"], line["ret"], run


def in_real_time(items):
    """(earlier, later): for each (inv, ret, value), the greatest value that was answered before it was asked, and its
    own."""
    by_end = sorted(items, key=lambda item: item[1])
    best, at = None, 0
    for inv, _, value in sorted(items, key=lambda item: item[0]):
        while at < len(by_end) and by_end[at][1] < inv:
            best = by_end[at][2] if best is None else max(best, by_end[at][2])
            at += 1
        if best is not None:
            yield best, value


def run_ids(segment):
    return {run["uid"]: run["run_id"] for run in segment["runs"]}


# ---- Durability and idempotency.

@checker("D1")
def acknowledged_creates_are_there(segment):
    """A run whose creation was acknowledged is in the database, and every read after that finds it, until a delete."""
    stored = {run["uid"]: run for run in segment["runs"]}
    for line in operations(segment, "create"):
        if line["code"] == "OK":
            run = stored.get(line["run"]["uid"])
            if run is None:
                yield f"{line['run']['name']} was acknowledged and is not stored"
            elif (run["name"], run["owner"], run["nonce"]) != (
                    line["run"]["name"].rpartition("/")[2], line["owner"], line["request"]["request_id"]):
                yield f"{line['run']['name']} is stored as another: {run}"
    yield from reads_that_miss(segment)


def reads_that_miss(segment):
    acked, deletes = {}, {}
    for line in operations(segment, "create"):
        if line["code"] == "OK":
            name = line["run"]["name"]
            acked[name] = min(line["ret"], acked.get(name, line["ret"]))
    for line in operations(segment, "delete"):
        name = line["request"]["name"]
        deletes[name] = min(line["inv"], deletes.get(name, line["inv"]))
    owners = {line["run"]["name"]: line["owner"] for line in operations(segment, "create") if line["code"] == "OK"}
    for line in operations(segment, "get"):
        name = line["request"]["name"]
        if (line["code"] == "NOT_FOUND" and name in acked and acked[name] < line["inv"]
                and owners[name] == line["owner"] and not deletes.get(name, line["ret"]) < line["ret"]):
            yield f"{name} was acknowledged, and a later read did not find it"


@checker("D1-deleted")
def what_is_deleted_stays_deleted(segment):
    """After an acknowledged delete no read finds the run."""
    acked = {}
    for line in operations(segment, "delete"):
        if line["code"] == "OK":
            name = line["request"]["name"]
            acked[name] = min(line["ret"], acked.get(name, line["ret"]))
    for line in operations(segment, "get"):
        name = line["request"]["name"]
        if line["code"] == "OK" and name in acked and acked[name] < line["inv"]:
            yield f"{name} was deleted, and a later read found it"


@checker("D2")
def one_run_for_a_request_id(segment):
    """All calls with one request_id that are acknowledged name the same run, and there is only one."""
    nonces = collections.Counter(run["nonce"] for run in segment["runs"])
    for request_id, lines in creates(segment).items():
        named = {line["run"]["uid"] for line in lines if line["code"] == "OK"}
        if len(named) > 1:
            yield f"request {request_id} was answered with the runs {sorted(named)}"
        if nonces[request_id] > 1:
            yield f"request {request_id} has made {nonces[request_id]} runs"


@checker("D3")
def definite_errors_leave_nothing(segment):
    """Of a request that got only definite errors there is no run and no request_id."""
    stored = {run["nonce"] for run in segment["runs"]} | {one["request_id"] for one in segment["requests"]}
    for request_id, lines in creates(segment).items():
        if request_id in stored and not any(line["code"] == "OK" or line["code"] in UNKNOWN for line in lines):
            yield f"request {request_id} was refused ({lines[0]['code']} {lines[0].get('reason')}) and is stored"


@checker("D4")
def asking_again_tells(segment):
    """Whoever was left in doubt and asks again with the same request_id learns what happened."""
    stored = {run["nonce"] for run in segment["runs"]}
    for request_id, lines in creates(segment).items():
        last = max(lines, key=lambda line: line["inv"])
        if last["code"] == "OK" and request_id not in stored:
            yield f"request {request_id} was answered OK in the end and there is no run"
        if last["code"] in UNKNOWN:
            yield f"request {request_id} was asked {len(lines)} times and never answered for certain: {last['code']}"
        if last.get("reason") == "REQUEST_ID_REUSED":
            yield f"request {request_id} is said to be another request"


# ---- Reads.

@checker("C1")
def answers_show_what_was_committed(segment):
    """Every run in every answer is one that was committed: its state and attempt are those at its last number."""
    ids = run_ids(segment)
    transitions = by(segment["transitions"], "run_id")
    for _, _, run in sightings(segment):
        rows = transitions.get(ids.get(run["uid"]), [])
        # Of a change of state and the event that goes with it the witness may have seen the number before or after.
        ends = [row["last_seq"] for row in rows[1:]] + [float("inf")]
        if rows and not any((row["new_state"], row["new_epoch"]) == (run["state"], run["attempt"])
                            and row["last_seq"] <= run["last_seq"] <= end for row, end in zip(rows, ends)):
            yield f"{run['name']} was shown as {run['state']} of attempt {run['attempt']} at {run['last_seq']}"


@checker("C2")
def runs_do_not_go_back(segment):
    """In the order of real time a run's last number never falls, an attempt never falls, a terminal state stays."""
    shown = collections.defaultdict(list)
    for inv, ret, run in sightings(segment):
        shown[run["uid"]].append((inv, ret, (run["last_seq"], run["attempt"], run["state"] in TERMINAL)))
    for uid, items in shown.items():
        for index, what in enumerate(("last_seq", "attempt", "being terminal")):
            for earlier, later in in_real_time([(inv, ret, value[index]) for inv, ret, value in items]):
                if later < earlier:
                    yield f"run {uid}: {what} was {earlier} and then {later}"
                    break


@checker("C3")
def lists_are_complete(segment):
    """A list, newest first, has every run acknowledged before and not deleted until after, down to its oldest."""
    # What is not of this segment is older than all that is.
    places = collections.defaultdict(lambda: ("", 0), {
        run["name"]: (run["create_time"], run["run_id"]) for run in segment["runs"]})
    acked = collections.defaultdict(list)
    for line in operations(segment, "create"):
        if line["code"] == "OK":
            acked[line["owner"]].append((line["ret"], line["run"]["name"]))
    deletes = {line["request"]["name"]: line["inv"] for line in reversed(operations(segment, "delete"))}
    for line in operations(segment, "list"):
        if line["code"] != "OK" or line["request"]["states"]:
            continue
        listed = [places[run["name"].rpartition("/")[2]] for run in line["runs"]]
        oldest = min(listed) if len(listed) >= line["request"]["page_size"] else ("", 0)
        if listed != sorted(listed, reverse=True):
            yield f"a list of {line['owner']} is not in the order of creation"
        names = {run["name"] for run in line["runs"]}
        if len(names) < len(line["runs"]):
            yield f"a list of {line['owner']} has a run twice"
        for ret, name in acked[line["owner"]]:
            newer = places[name.rpartition("/")[2]] > oldest
            if ret < line["inv"] and newer and name not in names and not deletes.get(name, line["ret"]) < line["ret"]:
                yield f"a list of {line['owner']} does not have {name}, acknowledged before"


@checker("C4")
def only_edges_of_the_graph(segment):
    """Only published edges are taken, each from the state before; a terminal run never changes again."""
    edges = {(edge["from_state"], edge["to_state"]) for edge in segment["edges"]}
    last = {}
    for row in segment["transitions"]:
        run, old, new = row["run_id"], row["old_state"], row["new_state"]
        if old is None:
            if run in last or new != "PENDING":
                yield f"run {run} began as {new}"
        elif old in TERMINAL:
            yield f"run {run} was {old} and became {new}"
        elif old != new and (old, new) not in edges:
            yield f"run {run} went from {old} to {new}"
        elif last.get(run, old) != old:
            yield f"run {run} left {old}, but was {last[run]}"
        last[run] = new
    for run in segment["runs"]:
        if last.get(run["run_id"]) != run["state"]:
            yield f"run {run['run_id']} is {run['state']}; the witness saw {last.get(run['run_id'])}"


@checker("S1")
def strangers_find_nothing(segment):
    """Whoever asks for another owner's run is told that it is not there."""
    owners = {run["name"]: run["owner"] for _, _, run in sightings(segment)}
    for line in operations(segment, "get", "cancel", "pause", "resume", "delete"):
        for name in line["request"].get("names") or [line["request"]["name"]]:
            if line["code"] == "OK" and owners.get(name, line["owner"]) != line["owner"]:
                yield f"{line['owner']} was shown {name} of {owners[name]}"


# ---- Quota.

@checker("Q1")
def quota_at_every_commit(segment):
    """No owner has more active or held runs than the limits at any commit."""
    limits = segment["limits"]
    for row in segment["transitions"]:
        if row["active"] > limits["active"]:
            yield f"transaction {row['txid']}: owner {row['owner_id']} has {row['active']} active runs"
        if row["holding"] > limits["holding"]:
            yield f"transaction {row['txid']}: workers hold {row['holding']} runs of owner {row['owner_id']}"


@checker("Q2")
def counters_count(segment):
    """The counter of active runs is their number, at every commit and in the end."""
    for row in segment["transitions"]:
        if row["active"] != row["counter"]:
            yield (f"transaction {row['txid']}: owner {row['owner_id']} has {row['active']}, the counter says "
                   f"{row['counter']}")
    for owner in segment["owners"]:
        if owner["active"] != owner["counted"]:
            yield f"{owner['email']} has {owner['counted']} active runs, the counter says {owner['active']}"


# ---- Leases.

@checker("L1")
def epochs_ascend(segment):
    """An attempt's number goes up by one with each lease and is granted once."""
    epochs = {}
    for row in segment["transitions"]:
        run, new = row["run_id"], row["new_epoch"]
        old = epochs.get(run, row["old_epoch"] or 0)
        if new not in (old, old + 1):
            yield f"run {run} went from attempt {old} to {new}"
        elif new == old + 1 and row["new_state"] not in ("STARTING", "QUEUED"):
            yield f"run {run} got attempt {new} and is {row['new_state']}"
        epochs[run] = new
    granted = collections.Counter((row["run_id"], row["epoch"]) for row in segment["audit_leases"]
                                  if row["change"] == "INSERT")
    for (run, epoch), times in granted.items():
        if times > 1:
            yield f"attempt {epoch} of run {run} was leased {times} times"


@checker("L2")
def only_the_newest_attempt_writes(segment):
    """No event of an attempt is stored after a newer one was granted, and none at all after the terminal one."""
    rows = sorted([*segment["transitions"], *segment["audit_events"]], key=lambda row: row["serial"])
    newest, ended = {}, {}
    for row in rows:
        run = row["run_id"]
        if "new_epoch" in row:
            newest[run] = max(newest.get(run, 0), row["new_epoch"])
            continue
        if 0 < row["epoch"] < newest.get(run, 0):
            yield f"run {run}: event {row['seq']} of attempt {row['epoch']} after attempt {newest[run]} was granted"
        if run in ended:
            yield f"run {run}: event {row['seq']} {row['type']} after the terminal event {ended[run]}"
        if row["type"] in TERMINAL_EVENTS:
            ended[run] = row["seq"]


@checker("L2-refused")
def stale_writes_are_refused(segment):
    """Whoever reports for an attempt that is over is told so."""
    for line in operations(segment, "stale_write"):
        if line["code"] == "OK" and line["reasons"] != ["LEASE_LOST"]:
            yield f"a report for attempt {line['request']} was answered with {line['reasons']}"


@checker("L3")
def attempts_hardly_overlap(segment):
    """A trainer does not compute beside its successor for longer than it takes to stop it."""
    seen = collections.defaultdict(lambda: collections.defaultdict(list))
    for line in segment["ledger"]:
        seen[line["run_id"]][line["attempt"]].append(line["boot_ns"])
    for run, attempts in seen.items():
        for attempt, times in attempts.items():
            later = [min(others) for other, others in attempts.items() if other > attempt]
            if later and (seconds := (max(times) - min(later)) / 1e9) > segment["limits"]["overlap"]:
                yield f"attempt {attempt} of run {run} computed {seconds:.1f} s beside a later one"


@checker("L5")
def trainers_of_ended_runs_are_gone(segment):
    """When every run is terminal no trainer lives, nor anything that one has started."""
    for left in segment["trainers_left"]:
        yield f"still there: {left}"


@checker("L7")
def short_outages_end_no_attempt(segment):
    """Where only outages shorter than self_stop were injected, no attempt whose trainer has started is lost.

    One that an agent was given a moment before it was killed, and has left no trace of, is given away again.
    """
    if segment["amnesty"]:
        started = {(line["run_id"], line["attempt"]) for line in segment["ledger"]}
        for attempt in segment["attempts"]:
            if lost(attempt) and (attempt["run_id"], attempt["epoch"]) in started:
                yield f"attempt {attempt['epoch']} of run {attempt['run_id']} ended: {attempt['end_reason']}"


def lost(attempt):
    return any(reason in (attempt["end_reason"] or "") for reason in LOST)


# ---- Events.

@checker("E1")
def events_are_numbered(segment):
    """A run's events are 1 to N without a gap, and N is what the run says; in the database and in the API."""
    numbers = {run: [event["seq"] for event in events] for run, events in by(segment["events"], "run_id").items()}
    for run in segment["runs"]:
        if numbers.get(run["run_id"], []) != list(range(1, run["last_seq"] + 1)):
            yield f"run {run['run_id']} says {run['last_seq']} and has {numbers.get(run['run_id'])}"
    ids = run_ids(segment)
    for told in segment["final"]:
        if told["code"] == "OK" and [event[0] for event in told["events"]] != numbers.get(ids.get(told["uid"])):
            yield f"run {told['name']}: the API tells other numbers than the database has"


@checker("E2")
def events_never_change(segment):
    """What a subscriber once got is, byte for byte, what the log says in the end; no stored event was touched."""
    log = {(told["uid"], event[0]): event[1] for told in segment["final"] if told["code"] == "OK"
           for event in told["events"]}
    readable = {told["uid"] for told in segment["final"] if told["code"] == "OK"}
    for line in operations(segment, "event"):
        if line["uid"] in readable and log.get((line["uid"], line["seq"])) != line["digest"]:
            yield f"run {line['uid']}: event {line['seq']} was another when it was sent"
    for row in segment["audit_events"]:
        if row["change"] != "INSERT":
            yield f"run {row['run_id']}: {row['change']} of event {row['seq']}"


@checker("E5")
def subscribers_get_each_event_once(segment):
    """From its first to its last event a subscriber gets each once and in order, over all broken streams."""
    for watch, lines in by(operations(segment, "event"), "watch").items():
        numbers = [line["seq"] for line in lines]
        if numbers != list(range(1, len(numbers) + 1)):
            wrong = next(i for i, number in enumerate(numbers) if number != i + 1)
            yield f"subscriber {watch}: {numbers[max(0, wrong - 2):wrong + 2]} around its event {wrong + 1}"


@checker("E5-feed")
def subscribers_of_all_runs_get_each_event_once(segment):
    """A subscriber of all runs gets each event of each once and in order; of a run that is not deleted, all of them."""
    runs = {run["name"]: run for run in segment["runs"]}
    log = {(told["name"].rsplit("/", 1)[-1], event[0]): event[1] for told in segment["final"] if told["code"] == "OK"
           for event in told["events"]}
    got = by(operations(segment, "feed_event"), "run")
    for name, lines in got.items():
        numbers = [line["seq"] for line in lines]
        if numbers != list(range(1, len(numbers) + 1)):
            wrong = next(i for i, number in enumerate(numbers) if number != i + 1)
            yield f"run {name}: {numbers[max(0, wrong - 2):wrong + 2]} around its event {wrong + 1}"
        for line in lines:
            if log.get((name, line["seq"]), line["digest"]) != line["digest"]:
                yield f"run {name}: event {line['seq']} was another when it was sent"
            if name in runs and runs[name]["owner"] != line["owner"]:
                yield f"run {name} of {runs[name]['owner']} was told to {line['owner']}"
    for name, run in runs.items():
        if not run["deleted"] and len(got.get(name, [])) != run["last_seq"]:
            yield f"run {name} has {run['last_seq']} events, and {len(got.get(name, []))} came"


@checker("E9")
def every_number_is_kept_once(segment):
    """The numbers of a completed run are those of each of its batches, once, however many attempts it took."""
    batches = segment["limits"]["batches"]
    completed = {run["uid"] for run in segment["runs"] if run["state"] == "COMPLETED"}
    for told in segment["final"]:
        if told["code"] != "OK" or told["uid"] not in completed:
            continue
        # In the middle some trainers say the same step very often.
        often = {step for step in told["steps"] if told["steps"].count(step) > 1} - {batches // 2}
        if set(told["steps"]) != set(range(1, batches + 1)) or often:
            yield f"run {told['name']} has the numbers of the steps {sorted(set(told['steps']))}, several of {often}"


@checker("E8")
def streams_end_after_the_terminal_event(segment):
    """A stream ends OK after the terminal event and never before; no subscriber is left without its end."""
    got = by(operations(segment, "event"), "watch")
    last_seq = {run["uid"]: run["last_seq"] for run in segment["runs"]}
    for line in operations(segment, "stream_end"):
        if line["code"] != "OK":
            continue
        events = got.get(line["watch"], [])
        if not events or events[-1]["type"] not in TERMINAL_EVENTS or events[-1]["seq"] != last_seq.get(line["uid"]):
            yield f"subscriber {line['watch']} of {line['uid']}: the stream ended OK at {line['cursor']}"
    for left in segment["watchers_left"]:
        yield f"the subscriber of {left['uid']} waits at {left['cursor']} though its run is terminal"


# ---- Ends.

@checker("X1")
def one_terminal_event(segment):
    """A terminal run has one terminal event, its last, and it is that of its state."""
    kinds = {"COMPLETED": "COMPLETED", "FAILED": "FAILED", "STOPPED": "CANCELED"}
    events = by(segment["events"], "run_id")
    for run in segment["runs"]:
        own = [event["type"] for event in events.get(run["run_id"], ())]
        ends = [kind for kind in own if kind in TERMINAL_EVENTS]
        wanted = [kinds[run["state"]]] if run["state"] in kinds else []
        if ends != wanted or (wanted and own[-1] != wanted[0]):
            yield f"run {run['run_id']} is {run['state']} and its terminal events are {ends}"


@checker("X2")
def an_acknowledged_cancel_wins(segment):
    """A run whose cancel was acknowledged before its end is STOPPED."""
    states = {run["uid"]: run["state"] for run in segment["runs"]}
    for line in operations(segment, "cancel"):
        for result in line.get("results", ()):
            if result["outcome"] in ("STOPPED", "STOPPING") and states.get(result["run"]["uid"]) != "STOPPED":
                yield f"{result['name']} was canceled and is {states.get(result['run']['uid'])}"
            if result["outcome"] == "ALREADY_TERMINAL" and result["run"]["state"] not in TERMINAL:
                yield f"{result['name']} is said to be terminal already and is shown as {result['run']['state']}"


@checker("X3")
def nothing_is_leased_after_the_end(segment):
    """No lease is granted after a run is terminal, and none, nor a place in the queue or an open attempt, is left."""
    ended = {}
    for row in segment["transitions"]:
        if row["new_state"] in TERMINAL:
            ended.setdefault(row["run_id"], row["serial"])
    for row in segment["audit_leases"]:
        if row["change"] == "INSERT" and row["serial"] > ended.get(row["run_id"], row["serial"]):
            yield f"run {row['run_id']} was leased after its end"
    for table in ("leases", "queue"):
        for row in segment[table]:
            if row["run_id"] in ended:
                yield f"run {row['run_id']} is terminal and still in {table}"
    for attempt in segment["attempts"]:
        if not attempt["ended"] and attempt["run_id"] in ended:
            yield f"attempt {attempt['epoch']} of run {attempt['run_id']} has not ended"


@checker("R1")
def attempts_go_on_from_the_newest_checkpoint(segment):
    """An attempt resumes from the newest checkpoint that was registered before, unless one was found damaged."""
    for run, events in by(segment["events"], "run_id").items():
        if any("could not go on from the newest checkpoint" in event["message"] for event in events):
            continue
        saved, resumed = None, set()
        for event in events:
            name = event["message"].rstrip(".").rpartition(" ")[2].rpartition("/")[2]
            if event["type"] == "CHECKPOINT_SAVED":
                saved = (event["epoch"], name)
            elif event["type"] == "RESUMED":
                resumed.add(event["epoch"])
                if saved is None or saved[1] != name:
                    yield f"run {run}: attempt {event['epoch']} resumed from {name}; the newest was {saved}"
            elif (event["type"] == "TRAIN_UPDATED" and saved and saved[0] < event["epoch"]
                  and event["epoch"] not in resumed):
                yield f"run {run}: attempt {event['epoch']} trains without {saved[1]}"
                break


@checker("K1")
def checkpoints_are_whole(segment):
    """What is listed as a checkpoint can be read in full, and no trainer was handed a damaged one."""
    for row in segment["checkpoints"]:
        if row["found"] != "whole":
            yield f"checkpoint {row['name']} of run {row['run_id']} is {row['found']}"
    for line in segment["ledger"]:
        if line["what"] == "damaged":
            yield f"attempt {line['attempt']} of run {line['run_id']} resumed from {line['folder']}"


@checker("K2")
def completed_runs_have_their_last_batch(segment):
    """A run is COMPLETED only with a checkpoint of its last batch."""
    steps = collections.defaultdict(int)
    for row in segment["checkpoints"]:
        steps[row["run_id"]] = max(steps[row["run_id"]], row["step"])
    for run in segment["runs"]:
        if run["state"] == "COMPLETED" and steps[run["run_id"]] != segment["limits"]["batches"]:
            yield f"run {run['run_id']} is COMPLETED and its newest checkpoint is of batch {steps[run['run_id']]}"


# ---- Operations.

@checker("O2")
def no_call_ends_in_a_fault_of_the_service(segment):
    """No client sees INTERNAL, UNKNOWN, DATA_LOSS or UNIMPLEMENTED, nor a reason that means a fault of the service."""
    for line in segment["history"]:
        if line.get("code") in BROKEN_CODES or line.get("reason") in BROKEN_REASONS:
            yield f"{line['op']} on {line.get('replica')}: {line['code']} {line.get('reason')} {line.get('message')}"


@checker("O3")
def every_run_ends(segment):
    """After the faults every run comes to its end in time."""
    for run in segment["runs"]:
        if run["state"] not in TERMINAL:
            yield f"run {run['run_id']} ({run['name']}) is still {run['state']}"


@checker("P1")
def nothing_crashes(segment):
    """No part ends by itself."""
    yield from segment["crashes"]


# ---- What shows that a campaign was worth something.

def counted(segment):
    """Numbers that add up over segments."""
    calls = [line for line in segment["history"] if "code" in line and line["op"] != "stream_end"]
    streams = operations(segment, "stream_end")
    events = operations(segment, "event")
    return {
        "operations": len(calls),
        "operations by code": dict(collections.Counter(line["code"] for line in calls)),
        "operations by kind": dict(collections.Counter(line["op"] for line in calls)),
        "calls in doubt": sum(line["code"] in words.UNKNOWN for line in calls),
        "calls resolved by asking again": sum(bool(line["request"].get("resend")) and line["code"] == "OK"
                                              for line in operations(segment, "create")),
        "quota refusals": sum(line.get("reason") == "ACTIVE_RUNS_QUOTA" for line in calls),
        "runs": len(segment["runs"]),
        "runs by end": dict(collections.Counter(run["state"] for run in segment["runs"])),
        "attempts": len(segment["attempts"]),
        "leases lost": sum(lost(attempt) for attempt in segment["attempts"]),
        "stale writes refused": sum("LEASE_LOST" in line["reasons"] for line in operations(segment, "stale_write")),
        "transitions checked": len(segment["transitions"]),
        "events checked": len(segment["events"]),
        "events delivered": len(events),
        "events delivered in streams over all runs": len(operations(segment, "feed_event")),
        "streams resumed": sum(line["code"] != "OK" and line["cursor"] > 0 for line in streams),
        "streams ended": sum(line["code"] == "OK" for line in streams),
    }
