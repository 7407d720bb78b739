#!/usr/bin/env python3
"""A gRPC proxy before the daemon that is as bad as the plan says: what a network or a load balancer does to calls.

    lossy_proxy.py DAEMON PLAN       PLAN is JSON, by method the trouble of its first calls: {"GetRun": ["refuse"]}

    refuse    UNAVAILABLE without details; the daemon never sees the call
    lose      the daemon answers, and the caller gets UNAVAILABLE instead
    hold      nothing, until the caller gives up
    cut:N     a stream ends with UNAVAILABLE after N messages

Prints its port, and then one JSON object for each call: its method, what was done with it, and as how many-th try the
client library made it.
"""
import concurrent.futures
import json
import signal
import sys
import threading

import grpc

STREAMS = {"WatchEvents"}
MAX_SECONDS = 60


class Proxy(grpc.GenericRpcHandler):
    def __init__(self, daemon, plan):
        self._channel = grpc.insecure_channel(daemon)
        self._plan = plan
        self._lock = threading.Lock()

    def service(self, details):
        if details.method.rpartition("/")[2] in STREAMS:
            return grpc.unary_stream_rpc_method_handler(
                lambda request, context: self._stream(details.method, request, context))
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._unary(details.method, request, context))

    def _begin(self, path, context):
        """What is to be done with this call, and what is passed on with it."""
        method = path.rpartition("/")[2]
        sent = dict(context.invocation_metadata())
        with self._lock:
            troubles = self._plan.get(method, [])
            trouble = troubles.pop(0) if troubles else ""
            # gRPC's client libraries count their own retries in this header.
            print(json.dumps({"method": method, "trouble": trouble,
                              "retry": int(sent.get("grpc-previous-rpc-attempts", 0))}), flush=True)
        return trouble, [(key, value) for key, value in sent.items() if key == "authorization"]

    @staticmethod
    def _pass_on(error, context):
        # The details of the error are among its trailing metadata.
        context.set_trailing_metadata(error.trailing_metadata())
        context.abort(error.code(), error.details())

    def _unary(self, path, request, context):
        trouble, metadata = self._begin(path, context)
        if trouble == "refuse":
            context.abort(grpc.StatusCode.UNAVAILABLE, "refused by the proxy")
        if trouble == "hold":
            gone = threading.Event()
            if context.add_callback(gone.set):
                gone.wait()
            context.abort(grpc.StatusCode.CANCELLED, "the caller has gone")
        try:
            # A caller without a deadline has one that is absurdly far away.
            deadline = min(context.time_remaining(), MAX_SECONDS)
            answer = self._channel.unary_unary(path)(request, metadata=metadata, timeout=deadline)
        except grpc.RpcError as error:
            self._pass_on(error, context)
        if trouble == "lose":
            context.abort(grpc.StatusCode.UNAVAILABLE, "the proxy lost the answer")
        return answer

    def _stream(self, path, request, context):
        trouble, metadata = self._begin(path, context)
        if trouble == "refuse":
            context.abort(grpc.StatusCode.UNAVAILABLE, "refused by the proxy")
        messages = self._channel.unary_stream(path)(request, metadata=metadata)
        context.add_callback(messages.cancel)
        left = int(trouble.partition(":")[2] or -1)
        try:
            for message in messages:
                yield message
                left -= 1
                if left == 0:
                    messages.cancel()
                    context.abort(grpc.StatusCode.UNAVAILABLE, "cut by the proxy")
        except grpc.RpcError as error:
            self._pass_on(error, context)


def main():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers([Proxy(sys.argv[1], json.loads(sys.argv[2]))])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(json.dumps({"port": port}), flush=True)
    signal.sigwait([signal.SIGTERM])
    server.stop(0).wait()


signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
main()
