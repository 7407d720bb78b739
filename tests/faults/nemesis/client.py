"""One client of the API: makes calls without any hidden retry and writes each into the history. Needs grpcio."""
import random
import uuid

import grpc
from finetuned.v1 import event_pb2, run_pb2, run_service_pb2 as api, run_service_pb2_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import history
from scripted_trainer import BATCHES

CALL_SECONDS = 5
IMPATIENT_SECONDS = 0.03
PROBE_SECONDS = 1
OPTIONS = [("grpc.enable_retries", 0), ("grpc.max_reconnect_backoff_ms", 500),
           ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100),
           ("grpc.use_local_subchannel_pool", 1)]


def reason_of(error):
    try:
        status = rpc_status.from_call(error)
    except ValueError:
        return ""
    return reason_in(status) if status else ""


def reason_in(status):
    """The reason that a google.rpc.Status carries."""
    info = error_details_pb2.ErrorInfo()
    return next((info.reason for detail in status.details if detail.Unpack(info)), "")


def view_of(run):
    return {"name": run.name, "uid": run.uid, "state": run_pb2.Run.State.Name(run.state), "last_seq": run.last_seq,
            "etag": run.etag, "attempt": run.attempt, "owner": run.owner}


class Client:
    """One user's client, with a connection to each daemon."""

    def __init__(self, proc, servers, out, seed):
        self.proc, self.out = proc, out
        self.random = random.Random(seed)
        self.stubs = {name: run_service_pb2_grpc.RunServiceStub(grpc.insecure_channel(f"127.0.0.1:{port}", OPTIONS))
                      for name, port in servers.items()}

    def call(self, op, owner, token, method, request, note, read, seconds=CALL_SECONDS, replica=None):
        """Makes one call and records it; (code, answer or None)."""
        replica = replica or self.random.choice(list(self.stubs))
        line = {"op": op, "proc": self.proc, "replica": replica, "owner": owner, "request": note}
        answer, inv = None, history.now()
        try:
            answer = getattr(self.stubs[replica], method)(request, timeout=seconds,
                                                          metadata=[("authorization", f"Bearer {token}")])
            code, more = "OK", read(answer)
        except grpc.RpcError as error:
            code, more = error.code().name, {"reason": reason_of(error), "message": (error.details() or "")[:200]}
        self.out.write(**line, inv=inv, ret=history.now(), code=code, **more)
        return code, answer

    def create_request(self, data, name=""):
        """A run that is told apart by its label, whatever becomes of the call."""
        request_id = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        spec = run_pb2.RunSpec(model="finetuned/tiny-llama", task_type=run_pb2.RunSpec.INSTRUCTION_FINETUNE,
                               train_data_path=data, training_duration=f"{BATCHES}ba", save_interval="2ba",
                               save_num_to_keep=self.random.choice([1, 2, 3]), learning_rate=0.001,
                               scheduling=run_pb2.Scheduling(max_retries=2))
        return api.CreateRunRequest(run=run_pb2.Run(spec=spec, labels={"nonce": request_id}), run_id=name,
                                    request_id=request_id)

    def create(self, owner, token, request, seconds=CALL_SECONDS, resend=False):
        note = {"request_id": request.request_id, "name": request.run_id, "resend": resend,
                "data": request.run.spec.train_data_path}
        return self.call("create", owner, token, "CreateRun", request, note, lambda run: {"run": view_of(run)}, seconds)

    def on_run(self, op, owner, token, name, seconds=CALL_SECONDS):
        """get, pause, resume, delete."""
        kinds = {"get": ("GetRun", api.GetRunRequest), "pause": ("PauseRun", api.PauseRunRequest),
                 "resume": ("ResumeRun", api.ResumeRunRequest), "delete": ("DeleteRun", api.DeleteRunRequest)}
        method, make = kinds[op]
        read = (lambda _: {}) if op == "delete" else (lambda run: {"run": view_of(run)})
        return self.call(op, owner, token, method, make(name=name), {"name": name}, read, seconds)

    def cancel(self, owner, token, names, seconds=CALL_SECONDS):
        def read(answer):
            return {"results": [{"name": one.name, "status": one.status.code,
                                 "outcome": api.CancelRunsResponse.Result.Outcome.Name(one.outcome),
                                 "run": view_of(one.run)} for one in answer.results]}
        return self.call("cancel", owner, token, "CancelRuns", api.CancelRunsRequest(names=names), {"names": names},
                         read, seconds)

    def list(self, owner, token, states=(), page_size=50):
        request = api.ListRunsRequest(page_size=page_size, states=states)
        return self.call("list", owner, token, "ListRuns", request, {"states": list(states), "page_size": page_size},
                         lambda answer: {"runs": [view_of(run) for run in answer.runs]})

    def events(self, owner, token, name):
        """All events, for the comparison at the end; not an operation of the history. Raises grpc.RpcError."""
        found, stub = [], self.stubs[self.random.choice(list(self.stubs))]
        while True:
            request = api.ListRunEventsRequest(name=name, after_seq=found[-1].seq if found else 0, page_size=1000)
            answer = stub.ListRunEvents(request, timeout=CALL_SECONDS, metadata=[("authorization", f"Bearer {token}")])
            found += answer.events
            if not answer.events or found[-1].seq >= answer.last_seq:
                return found


    def steps(self, token, name):
        """The steps of the run's training loss, as a subscriber puts them together. Raises grpc.RpcError."""
        stub = self.stubs[self.random.choice(list(self.stubs))]
        steps, request = [], api.ReadMetricsRequest(name=name, metrics=["train/loss"])
        for message in stub.ReadMetrics(request, timeout=CALL_SECONDS, metadata=[("authorization", f"Bearer {token}")]):
            new = [step for series in message.series for step in series.steps]
            if message.HasField("went_back_to_step"):
                back = message.went_back_to_step
                steps = [step for step in steps if step < back or (step == back and back not in new)]
            steps += new
        return steps


def event_digest(event):
    return history.digest(event.SerializeToString(deterministic=True))


def event_type(event):
    return event_pb2.RunEvent.Type.Name(event.type)
