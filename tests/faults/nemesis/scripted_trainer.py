#!/usr/bin/env python3
"""A trainer under the contract of trainer/README.md that learns nothing, starts at once, and misbehaves as told.

What it does and how long it takes is in the run's `train_data_path`, `.../MODE/SECONDS`. A checkpoint holds bytes that
follow from run and step, so that whoever resumes from one sees whether it is whole. Every start, batch and end
of a trainer is a line of the file $NEMESIS_LEDGER.
"""
import contextlib
import json
import os
import signal
import sys
import time

CHECKPOINT_BYTES = 4096
# Of every run; load.py asks for so many.
BATCHES = 8
CHATTER_LINES = 50
CHATTER_PAUSE = 0.05


def weights(run_id, step):
    """What a whole checkpoint holds."""
    word = f"{run_id}:{step};".encode()
    return (word * (CHECKPOINT_BYTES // len(word) + 1))[:CHECKPOINT_BYTES]


class Trainer:
    """One attempt."""

    def __init__(self):
        self.env = os.environ
        with open(self.env["FINETUNED_SPEC"], encoding="utf-8") as file:
            spec = json.load(file)
        self.mode, seconds = spec["train_data_path"].rsplit("/", 2)[1:]
        self.batches = int(spec["training_duration"].removesuffix("ba"))
        self.interval = int(spec["save_interval"].removesuffix("ba"))
        self.batch_seconds = float(seconds) / self.batches
        self.attempt = int(self.env["FINETUNED_ATTEMPT"])
        self.step = 0
        self.asked_to_stop = False
        self.events = os.open(self.env["FINETUNED_EVENTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def ledger(self, what, **more):
        line = {"what": what, "run_id": int(self.env["FINETUNED_RUN_ID"]), "attempt": self.attempt, "pid": os.getpid(),
                "boot_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME), "step": self.step, "mode": self.mode, **more}
        with open(self.env["NEMESIS_LEDGER"], "ab", buffering=0) as file:
            file.write(json.dumps(line).encode() + b"\n")

    def say(self, event, **more):
        now = time.gmtime(1 if self.mode == "old_stamps" else None)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", now)
        os.write(self.events, json.dumps({"v": 1, "ts": stamp, "type": event, **more}).encode() + b"\n")

    def resume(self):
        folder = self.env["FINETUNED_RESUME_FROM"]
        if not folder:
            return
        with open(f"{folder}/state.json", encoding="utf-8") as file:
            self.step = json.load(file)["step"]
        with open(f"{folder}/weights.bin", "rb") as file:
            if file.read() != weights(self.env["FINETUNED_RUN_ID"], self.step):
                self.ledger("damaged", folder=folder)
                sys.exit(1)
        self.say("resumed", checkpoint=os.path.basename(folder), step=self.step, tokens=self.step * 10)

    def make_folder(self, path):
        """In the folder that is there: where the artifact root is gone, it is not made anew."""
        for folder in (os.path.dirname(path), path):
            with contextlib.suppress(FileExistsError):
                if folder != self.env["FINETUNED_CHECKPOINT_DIR"]:
                    os.mkdir(folder)

    def save(self):
        name, also = f"ep1-ba{self.step}", f"huggingface/ba{self.step}"
        for folder in (name, also):
            path = os.path.join(self.env["FINETUNED_CHECKPOINT_DIR"], folder)
            self.make_folder(path)
            with open(f"{path}/weights.bin", "wb") as file:
                file.write(weights(self.env["FINETUNED_RUN_ID"], self.step))
                if self.mode == "half_checkpoint" and self.attempt == 1:
                    file.truncate(CHECKPOINT_BYTES // 2)
                    os.kill(os.getpid(), signal.SIGKILL)
            with open(f"{path}/state.json", "w", encoding="utf-8") as file:
                json.dump({"step": self.step}, file)
        self.say("checkpoint", path=name, huggingface=also, step=self.step, epoch=1, batch=self.step,
                 tokens=self.step * 10, metrics={}, kind="interval", complete=True)

    def wants_stop(self):
        """`cancel`, another word, or nothing."""
        if self.mode == "deaf":
            return None
        try:
            with open(self.env["FINETUNED_CONTROL"], encoding="utf-8") as file:
                stop = json.load(file).get("stop")
        except (OSError, ValueError):
            stop = None
        return stop or ("preempt" if self.asked_to_stop else None)

    def misbehave(self):
        """What each mode does in the middle of training; most of them only in the first attempts, so that runs end."""
        early = self.attempt <= 2
        if self.mode == "exit_1":
            sys.exit(1)
        if self.mode == "exit_65":
            sys.exit(65)
        if self.mode == "exit_75" and early:
            sys.exit(75)
        if self.mode == "signal" and early:
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.mode == "exits_early":
            sys.exit(0)
        if self.mode == "hang" and early:
            signal.pause()
        if self.mode == "forks" and os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        if self.mode == "flood":
            for number in range(3000):
                self.say("progress", epoch=1, epochs=1, batch=self.step, batches=self.batches, step=self.step,
                         total_batches=self.batches, tokens=self.step * 10, metrics={"train/loss": number})
        if self.mode == "bad_utf8":
            os.write(self.events, b'{"v": 1, "type": "eval", "text": "\xff\xfe\x00"}\n\xc3\x28 no JSON\n')
            os.write(self.events, b"x" * 70000 + b"\n")

    def chatter(self):
        """Lines that no limit of progress holds back, many a second."""
        for number in range(int(self.mode.removeprefix("chatty-"))):
            self.say("note", number=number)
            if number % CHATTER_LINES == 0:
                time.sleep(CHATTER_PAUSE)

    def train(self):
        self.ledger("start")
        self.say("data_validated", examples=10, tokens=100, eval_examples=0)
        self.say("model_initialized", model="scripted", device="cpu", precision="FLOAT32")
        self.resume()
        if self.mode.startswith("chatty-"):
            self.chatter()
        while self.step < self.batches:
            time.sleep(self.batch_seconds)
            self.step += 1
            self.ledger("beat")
            self.say("progress", epoch=1, epochs=1, batch=self.step, batches=self.batches, step=self.step,
                     total_batches=self.batches, tokens=self.step * 10, metrics={"train/loss": 1.0 / self.step})
            if self.step == self.batches // 2:
                self.misbehave()
            stop = self.wants_stop()
            if stop == "cancel":
                self.end(75)
            if stop or self.step % self.interval == 0 or self.step == self.batches:
                self.save()
            if stop and self.step < self.batches:
                self.end(75)
        self.say("train_finished", step=self.step, epoch=1, tokens=self.step * 10)
        self.end(0)

    def end(self, status):
        self.ledger("end", status=status)
        sys.exit(status)


def main():
    # Many start at once, and what is under test goes before them.
    os.nice(10)
    trainer = Trainer()

    def on_term(_signal, _frame):
        trainer.asked_to_stop = True
    signal.signal(signal.SIGTERM, signal.SIG_IGN if trainer.mode == "deaf" else on_term)
    trainer.train()


if __name__ == "__main__":
    main()
