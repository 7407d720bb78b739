"""One attempt at a run: validate the data, load the model, train, evaluate, save, report."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from pathlib import Path

from trainer import catalogue, checkpoint, data, device, evaluation, hub_dataset
from trainer import spec as run_spec
from trainer.batches import BatchPlan, Position
from trainer.checkpoint import CheckpointWriter, Identity
from trainer.control import CANCEL, Control
from trainer.environment import Environment
from trainer.errors import EXIT_OK, EXIT_STOPPED, Stopped, TrainerError
from trainer.events import EventWriter
from trainer.hub import Hub
from trainer.learner import Learner
from trainer.llama import Llama
from trainer.loss_guard import LossGuard
from trainer.recipe import FLOAT32, Recipe
from trainer.rows import Rows
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
        self._hub = self._open_hub()
        base = catalogue.find(spec.model, self._environment.model_roots, self._hub)
        self._context_length = _context_length(spec, base.config.context_length)
        self._tokenizer = ModelTokenizer(base.folder, base.config.vocab_size)
        self._read_data(spec)

        path = spec.custom_weights_path
        self._custom_weights = catalogue.custom_weights(path) if path and self._needs_first_weights() else None
        chosen = device.choose(spec.recipe.precision)
        device.settle(spec.recipe.seed)
        self._recipe = dataclasses.replace(spec.recipe, precision=chosen.precision)
        self._learner = Learner(self._first_weights(base), self._recipe, spec.learning_rate,
                                chosen)
        self._guard = LossGuard(self._plan.total)
        self._events.emit("model_initialized", model=spec.model, device=chosen.torch.type,
                          precision=chosen.precision, **_given(revision=base.revision))
        identity = Identity(_digest(spec, self._context_length),
                            self._rows.data.fingerprint(), self._learner.base_digest,
                            self._hub.revisions if self._hub else {})
        self._writer = CheckpointWriter(self._environment.checkpoint_dir, base, identity, self._custom_weights)
        self._position = Position()
        if self._environment.resume_from is not None:
            self._resume(self._environment.resume_from, identity)

    def _open_hub(self) -> Hub | None:
        if not self._environment.hub:
            return None
        resumed = self._environment.resume_from
        return Hub(self._check_stop, checkpoint.hub_revisions(resumed) if resumed is not None else {})

    def _needs_first_weights(self) -> bool:
        return self._environment.resume_from is None or self._spec.recipe.lora is not None

    def _first_weights(self, base: catalogue.BaseModel) -> Llama:
        """What the run begins with. Where it goes on from a checkpoint with all weights in it,
        those it began with no longer matter, and need not be there."""
        if not self._needs_first_weights():
            return Llama.empty(base.config)
        return base.load(self._custom_weights)

    def _read_data(self, spec: RunSpec) -> None:
        revisions: dict[str, str] = {}

        def read(split: str, field: str, path: str, min_samples: int) -> data.Dataset:
            found = None
            if not os.path.isabs(path):
                found = hub_dataset.fetch(self._hub, path, spec.task_type, field)
                revisions[field.replace("data_path", "revision")] = found.revision
            reader = data.Reader(self._tokenizer, self._context_length, split, self._check_stop)
            return reader.read(path, spec.task_type, min_samples, found.files if found else None)

        recipe = spec.recipe
        train = read("training", "train_data_path", spec.train_data_path, recipe.batch_size)
        self._rows = Rows(train, self._context_length if recipe.packing else None)
        self._eval_rows = (Rows(read("evaluation", "eval_data_path", spec.eval_data_path, 1), None)
                           if spec.eval_data_path else None)
        self._plan = BatchPlan(self._rows, spec.training_duration, recipe.batch_size, recipe.seed)
        self._events.emit(
            "data_validated", examples=len(train), tokens=len(train.ids),
            eval_examples=len(self._eval_rows) if self._eval_rows else 0,
            truncated=train.truncated, dropped=train.dropped, rows=len(self._rows), **revisions)

    def _resume(self, folder: Path, identity: Identity) -> None:
        self._position = checkpoint.resume(folder, self._learner, self._guard, identity)
        self._saved_step, self._saved_name = self._position.step, folder.name
        self._events.emit("resumed", checkpoint=folder.name, step=self._position.step,
                          tokens=self._position.tokens)

    def _train(self) -> None:
        if self._position.step == 0:
            self._evaluate("before")
        metrics: dict[str, float] = {}
        for numbers in self._plan.from_step(self._position.step):
            self._check_stop_saving()
            before = self._position
            metrics = self._train_batch(numbers)
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

    def _train_batch(self, numbers: list[int]) -> dict[str, float]:
        start = time.monotonic()
        plan, before = self._plan, self._position
        rate = self._learner.rate(before.step, plan.total)
        loss = self._learner.learn(self._rows, numbers, rate, before.step + 1)
        self._guard.see(loss, before.step + 1)
        self._position = now = plan.after(before, numbers)
        speed = (now.tokens - before.tokens) / max(time.monotonic() - start, 1e-9)
        metrics = {"train/loss": loss, "lr": rate, "tokens_per_second": round(speed, 1)}
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
            if self._eval_rows is not None:
                metrics = evaluation.evaluate(self._learner, self._eval_rows, self._check_stop)
                self._events.emit("eval", **place, when=when, metrics=metrics)
            for index, prompt in enumerate(self._spec.eval_prompts):
                text = evaluation.answer(self._learner, self._tokenizer, prompt,
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
        saved = self._writer.save(self._learner, self._guard, position)
        self._saved_step, self._saved_name = position.step, saved.name
        self._events.emit(
            "checkpoint", path=saved.name, step=position.step, epoch=position.epoch,
            batch=position.step, tokens=position.tokens, huggingface=saved.huggingface,
            metrics=metrics, kind="training", complete=True)

    def _check_stop(self) -> None:
        self._events.working()
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


def _given(**fields: object) -> dict[str, object]:
    return {key: value for key, value in fields.items() if value is not None}


def _context_length(spec: RunSpec, model_limit: int) -> int:
    wanted = spec.context_length or model_limit
    if wanted > model_limit:
        raise TrainerError("INVALID_SPEC", f"context_length: {wanted} is more than the "
                           f"{model_limit} tokens of {spec.model}.", field="context_length")
    return wanted


def _digest(spec: RunSpec, context_length: int) -> str:
    """Of all in the specification that decides how training goes on from a checkpoint.

    Paths are left out: another worker may know the same files by other ones. So is the precision: AUTO means
    another one where the next worker has another device, and the run goes on there.
    """
    recipe = dataclasses.replace(spec.recipe, precision=FLOAT32)
    decisive = [spec.model, spec.task_type, str(spec.training_duration), spec.learning_rate,
                context_length]
    if recipe != Recipe(precision=FLOAT32):  # as in checkpoints from before there were recipes
        decisive.append(dataclasses.asdict(recipe))
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
