"""One attempt at a run: validate the data, load the model, train, evaluate, save, report."""

from __future__ import annotations

import hashlib
import json
import math
import time
from pathlib import Path

import torch

from trainer import catalogue, checkpoint, data, evaluation
from trainer import spec as run_spec
from trainer.batches import BATCH_SIZE, BatchPlan, Position, collate
from trainer.checkpoint import CheckpointWriter, Identity
from trainer.control import CANCEL, Control
from trainer.environment import Environment
from trainer.errors import EXIT_DATA, EXIT_OK, EXIT_STOPPED, Stopped, TrainerError
from trainer.events import EventWriter
from trainer.lion import Lion, learning_rate_at
from trainer.llama import IGNORE, Llama, loss_sum
from trainer.spec import RunSpec
from trainer.tokenizer import ModelTokenizer

_PROMPT_SEED = 29


class Attempt:
    """Trains one run in one process; `run` returns the exit status."""

    def __init__(self, environment: Environment, events: EventWriter, control: Control) -> None:
        self._environment = environment
        self._events = events
        self._control = control
        self._saved_step: int | None = None  # of the newest checkpoint of this attempt
        self._saved_name: str | None = None

    def run(self) -> int:
        try:
            self._prepare()
            self._train()
        except Stopped:
            self._events.emit("preempt_ack", checkpoint=self._saved_name)
            return EXIT_STOPPED
        return EXIT_OK

    def _prepare(self) -> None:
        """Everything before the first batch. Data are read before weights: they fail more often."""
        spec = self._spec = run_spec.load(self._environment.spec)
        base = catalogue.find(spec.model, self._environment.model_roots)
        resume_from = self._environment.resume_from
        # Where a run goes on from a checkpoint, its first weights no longer matter.
        custom = (catalogue.custom_weights(spec.custom_weights_path)
                  if spec.custom_weights_path and resume_from is None else None)
        self._context_length = _context_length(spec, base.config.context_length)
        self._tokenizer = ModelTokenizer(base.folder, base.config.vocab_size)
        self._read_data(spec)

        self._model = Llama(base.config) if resume_from else base.load(custom)
        self._optimizer = Lion(self._model)
        self._events.emit("model_initialized", model=spec.model)
        identity = Identity(_digest(spec, self._context_length), self._data.fingerprint())
        self._writer = CheckpointWriter(self._environment.checkpoint_dir, base, identity)
        self._position = Position()
        if resume_from is not None:
            self._resume(resume_from, identity)

    def _read_data(self, spec: RunSpec) -> None:
        def read(split: str, path: str, min_samples: int) -> data.Dataset:
            reader = data.Reader(self._tokenizer, self._context_length, split, self._check_stop)
            return reader.read(path, spec.task_type, min_samples)

        self._data = read("training", spec.train_data_path, BATCH_SIZE)
        self._eval_data = (read("evaluation", spec.eval_data_path, 1)
                           if spec.eval_data_path else None)
        self._plan = BatchPlan(self._data, spec.training_duration)
        self._events.emit(
            "data_validated", examples=len(self._data), tokens=len(self._data.ids),
            eval_examples=len(self._eval_data) if self._eval_data else 0,
            truncated=self._data.truncated, dropped=self._data.dropped)

    def _resume(self, folder: Path, identity: Identity) -> None:
        self._position = checkpoint.resume(folder, self._model, self._optimizer, identity)
        self._saved_step, self._saved_name = self._position.step, folder.name
        self._events.emit("resumed", checkpoint=folder.name, step=self._position.step,
                          tokens=self._position.tokens)

    def _train(self) -> None:
        if self._position.step == 0:
            self._evaluate("before")
        metrics: dict[str, float] = {}
        for samples in self._plan.from_step(self._position.step):
            self._check_stop_saving()
            before = self._position
            metrics = self._train_batch(samples)
            wanted = self._control.take_checkpoint_request()
            ended = self._plan.interval_ends(self._spec.save_interval, before, self._position)
            if (wanted or ended) and self._position.step < self._plan.total:
                self._check_stop_saving()
                metrics.update(self._evaluate("checkpoint"))
                self._check_stop_saving()
                self._save(metrics)
        if self._control.stop_kind() == CANCEL:
            raise Stopped
        if self._control.stop_kind() is None:
            metrics.update(self._evaluate("after"))
        # Training is over; what follows is the last save and its publication.
        self._events.emit("train_finished", step=self._position.step, epoch=self._position.epoch,
                          tokens=self._position.tokens)
        self._save(metrics)

    def _train_batch(self, samples: list[int]) -> dict[str, float]:
        start = time.monotonic()
        plan, before = self._plan, self._position
        ids, labels = collate(self._data, samples)
        loss = loss_sum(self._model(ids), labels) / int((labels != IGNORE).sum())
        if not math.isfinite(loss.item()):
            raise TrainerError(
                "LOSS_SPIKE", "Training stopped due to a loss spike. The training loss is "
                f"{loss.item()} at batch {before.step + 1}. Please try submitting the run again "
                "with a lower learning rate.", exit_status=EXIT_DATA)
        loss.backward()
        rate = learning_rate_at(before.step, plan.total, self._spec.learning_rate)
        self._optimizer.step(rate)
        self._position = now = plan.after(before, samples)
        speed = (now.tokens - before.tokens) / max(time.monotonic() - start, 1e-9)
        metrics = {"train/loss": loss.item(), "lr": rate, "tokens_per_second": round(speed, 1)}
        self._events.emit(
            "progress", **plan.place(now.step), total_batches=plan.total, step=now.step,
            tokens=now.tokens, max_tokens=plan.max_tokens, metrics=metrics)
        return metrics

    def _evaluate(self, when: str) -> dict[str, float]:
        """Reports loss and answers; gives up quietly when a stop is asked for meanwhile."""
        step = self._position.step
        epoch, batch = divmod(max(step - 1, 0), self._plan.per_epoch)
        place = {"step": step, "epoch": epoch + 1, "batch": batch + 1 if step else 0}
        metrics: dict[str, float] = {}
        try:
            if self._eval_data is not None:
                metrics = evaluation.evaluate(self._model, self._eval_data, self._check_stop)
                self._events.emit("eval", **place, when=when, metrics=metrics)
            for index, prompt in enumerate(self._spec.eval_prompts):
                text = evaluation.answer(self._model, self._tokenizer, prompt,
                                         _PROMPT_SEED + index, self._context_length,
                                         self._check_stop)
                self._events.emit("eval_prompt", **place, when=when, prompt=prompt, response=text)
        except Stopped:
            pass  # the loop asks again, and saves
        return metrics

    def _save(self, metrics: dict[str, float]) -> None:
        if self._saved_step == self._position.step:
            return
        position = self._position
        saved = self._writer.save(self._model, self._optimizer, position)
        self._saved_step, self._saved_name = position.step, saved.name
        self._events.emit(
            "checkpoint", path=saved.name, step=position.step, epoch=position.epoch,
            batch=position.step, tokens=position.tokens, huggingface=saved.huggingface,
            metrics=metrics, kind="training", complete=True)

    def _check_stop(self) -> None:
        if self._control.stop_kind() is not None:
            raise Stopped

    def _check_stop_saving(self) -> None:
        """Between batches: a stop other than cancel first saves what has been learned."""
        kind = self._control.stop_kind()
        if kind is None:
            return
        if kind != CANCEL and self._position.step > 0:
            self._save({})
        raise Stopped


def _context_length(spec: RunSpec, model_limit: int) -> int:
    wanted = spec.context_length or model_limit
    if wanted > model_limit:
        raise TrainerError("INVALID_SPEC", f"context_length: {wanted} is more than the "
                           f"{model_limit} tokens of {spec.model}.", field="context_length")
    return wanted


def _digest(spec: RunSpec, context_length: int) -> str:
    """Of all in the specification that decides how training goes on from a checkpoint.

    Paths are left out: another worker may know the same files by other ones.
    """
    decisive = [spec.model, spec.task_type, str(spec.training_duration), spec.learning_rate,
                context_length]
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()


def settle_torch() -> None:
    """Makes torch's arithmetic repeatable. One OpenMP thread: see `_limit_threads` in __main__."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(0)
