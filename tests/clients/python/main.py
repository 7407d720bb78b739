#!/usr/bin/env python3
"""The client as a program: `main.py --server ADDRESS --service-config FILE [--token-file FILE] COMMAND ...`.

Prints one JSON object a line. A call that fails is printed too, as `{"error": {...}}`, and the exit status is 1.
"""
import argparse
import json
import pathlib
import sys

import client
from finetuned.v1 import event_pb2, run_pb2, run_service_pb2
from google.rpc import code_pb2, error_details_pb2


def show(**what):
    print(json.dumps(what), flush=True)


def show_run(run):
    show(name=run.name, uid=run.uid, state=run_pb2.Run.State.Name(run.state))


def failure_of(failure):
    return {"code": failure.code, "reason": failure.reason, "domain": failure.domain, "metadata": failure.metadata,
            "violations": failure.violations, "quota": failure.quota, "retry_delay": failure.retry_delay}


def create(args, service):
    spec = run_pb2.RunSpec(model=args.model, task_type=run_pb2.RunSpec.INSTRUCTION_FINETUNE,
                           train_data_path=args.train_data, training_duration=args.duration,
                           learning_rate=args.learning_rate, compute=run_pb2.Compute(cpus=args.cpus))
    show_run(service.create(spec, args.name, args.request_id))


def get(args, service):
    show_run(service.get(args.name))


def quota(args, service):
    answer = service.quota()
    show(limit=answer.active_limit, usage=answer.active_usage, runs=list(answer.active_runs))


def runs(args, service):
    for page in service.pages(args.page_size):
        show(page=[run.name for run in page])


def cancel(args, service):
    for result in service.cancel(args.names):
        info = error_details_pb2.ErrorInfo()
        reasons = [info.reason for detail in result.status.details if detail.Unpack(info)]
        show(name=result.name, code=code_pb2.Code.Name(result.status.code), reason="".join(reasons),
             outcome=run_service_pb2.CancelRunsResponse.Result.Outcome.Name(result.outcome))


def watch(args, service):
    """With --break-after the stream is left after so many events, and another begins behind the last of them."""
    def broken(failure):
        show(broken=failure_of(failure))

    seq = args.after
    events = service.watch(args.name, seq, broken)
    for count, event in enumerate(events, start=1):
        seq = event.seq
        show(seq=seq, type=event_pb2.RunEvent.Type.Name(event.type))
        if count == args.break_after:
            events.close()
            show(left=seq)
            for later in service.watch(args.name, seq, broken):
                show(seq=later.seq, type=event_pb2.RunEvent.Type.Name(later.type))
    show_run(service.get(args.name))


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--service-config", required=True)
    parser.add_argument("--token-file")
    parser.add_argument("--deadline", type=float, default=client.DEADLINE_SECONDS)
    commands = parser.add_subparsers(required=True)

    def command(function):
        one = commands.add_parser(function.__name__)
        one.set_defaults(function=function)
        return one

    one = command(create)
    for flag, of, default in (("name", str, ""), ("request-id", str, ""), ("model", str, "finetuned/tiny-llama"),
                              ("train-data", str, ""), ("duration", str, "1ep"), ("learning-rate", float, 1e-3),
                              ("cpus", int, 1)):
        one.add_argument("--" + flag, type=of, default=default)
    command(get).add_argument("name")
    command(quota)
    command(runs).add_argument("--page-size", type=int, default=0)
    command(cancel).add_argument("names", nargs="+")
    one = command(watch)
    one.add_argument("name")
    one.add_argument("--after", type=int, default=0)
    one.add_argument("--break-after", type=int, default=0)
    return parser.parse_args()


def main():
    args = parse()
    token = pathlib.Path(args.token_file).read_text(encoding="utf-8").strip() if args.token_file else ""
    service = client.Client(args.server, token, args.service_config, args.deadline)
    try:
        args.function(args, service)
    except client.CallFailed as failure:
        show(error=failure_of(failure))
        return 1
    finally:
        service.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
