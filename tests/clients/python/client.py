"""A service's client of the API in Python: deadlines, retries, errors that a program can read, streams that resume.

It needs grpcio, grpcio-status and the stubs; docs/calling.md says how they are made.
"""
import pathlib
import random
import time

import grpc
from finetuned.v1 import run_pb2, run_service_pb2, run_service_pb2_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

# Of every call but a stream, its retries included. The daemon is told, and gives up too.
DEADLINE_SECONDS = 20
# A stream is opened anew after this long even when all is well, so that one that hangs does not hang for ever.
STREAM_SECONDS = 600
# How long a stream may bring nothing, over all tries to open it again, before the caller is told.
PATIENCE_SECONDS = 60
MAX_BACKOFF_SECONDS = 5


class CallFailed(Exception):
    """A call that failed, with what the daemon says about it in a form that a program can read."""

    def __init__(self, error):
        super().__init__(f"{error.code().name}: {error.details()}")
        self.code = error.code().name
        self.message = error.details()
        # Empty where the error is not the daemon's: a connection that broke, a deadline that is over.
        self.reason = ""
        self.domain = ""
        self.metadata = {}
        # (field, description) each; of INVALID_ARGUMENT.
        self.violations = []
        # (subject, description) each; of a quota that is used up.
        self.quota = []
        # Seconds to wait before the next try; None where the daemon says nothing.
        self.retry_delay = None
        status = rpc_status.from_call(error)
        for detail in status.details if status else ():
            self._read(detail)

    def _read(self, detail):
        info, bad, quota, retry = (error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(),
                                   error_details_pb2.QuotaFailure(), error_details_pb2.RetryInfo())
        # Unpack is false for a detail of another kind; a kind that is not known here is no error.
        if detail.Unpack(info):
            self.reason, self.domain, self.metadata = info.reason, info.domain, dict(info.metadata)
        elif detail.Unpack(bad):
            self.violations = [(one.field, one.description) for one in bad.field_violations]
        elif detail.Unpack(quota):
            self.quota = [(one.subject, one.description) for one in quota.violations]
        elif detail.Unpack(retry):
            self.retry_delay = retry.retry_delay.ToTimedelta().total_seconds()

    @property
    def passes(self):
        """Whether a stream that ended like this is to be opened again: the daemon says so, or did not end it itself."""
        return self.code == "UNAVAILABLE" or not self.reason


class Client:
    def __init__(self, server, token, service_config, deadline=DEADLINE_SECONDS):
        """`service_config` is the path of docs/service_config.json, or of a copy."""
        self._channel = grpc.insecure_channel(server, options=[
            ("grpc.service_config", pathlib.Path(service_config).read_text(encoding="utf-8")),
            # Finds a connection that is dead although nobody has closed it.
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 10_000),
        ])
        self._stub = run_service_pb2_grpc.RunServiceStub(self._channel)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._deadline = deadline

    def close(self):
        self._channel.close()

    def _call(self, method, request):
        try:
            return method(request, metadata=self._metadata, timeout=self._deadline)
        except grpc.RpcError as error:
            raise CallFailed(error) from None

    def create(self, spec, name, request_id):
        """The run; the same one whenever it is called again with this request_id."""
        return self._call(self._stub.CreateRun, run_service_pb2.CreateRunRequest(
            run=run_pb2.Run(spec=spec), run_id=name, request_id=request_id))

    def get(self, name):
        return self._call(self._stub.GetRun, run_service_pb2.GetRunRequest(name=name))

    def quota(self):
        return self._call(self._stub.GetQuota, run_service_pb2.GetQuotaRequest())

    def pages(self, page_size):
        """Every run that the caller sees, newest first, page by page."""
        request = run_service_pb2.ListRunsRequest(page_size=page_size)
        while True:
            answer = self._call(self._stub.ListRuns, request)
            yield list(answer.runs)
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    def cancel(self, names):
        """One result each; one that could not be canceled is no exception, its result says why."""
        return self._call(self._stub.CancelRuns, run_service_pb2.CancelRunsRequest(names=names)).results

    def watch(self, name, after_seq=0, broken=lambda failure: None):
        """The events of a run behind number `after_seq`, each once and in order, to the run's end.

        A stream that breaks is opened again behind the last event; broken(failure) is told. CallFailed when it cannot
        be, or when nothing came for PATIENCE_SECONDS.
        """
        heard, backoff = time.monotonic(), 0.2
        while True:
            request = run_service_pb2.WatchEventsRequest(name=name, after_seq=after_seq)
            stream = self._stub.WatchEvents(request, metadata=self._metadata, timeout=STREAM_SECONDS)
            try:
                for message in stream:
                    heard, backoff = time.monotonic(), 0.2
                    for event in message.events:
                        after_seq = event.seq
                        yield event
                return
            except grpc.RpcError as error:
                failure = CallFailed(error)
                if not failure.passes or time.monotonic() - heard > PATIENCE_SECONDS:
                    raise failure from None
                broken(failure)
                time.sleep(failure.retry_delay or backoff * random.uniform(0.5, 1))
                backoff = min(2 * backoff, MAX_BACKOFF_SECONDS)
            finally:
                # Also when the caller has seen enough and reads no further.
                stream.cancel()
