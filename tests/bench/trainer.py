#!/usr/bin/env python3
"""Tokens a second of the reference trainer against transformers' Trainer: `trainer.py FOLDER` leaves trainer.md and
trainer.json there, as the other benchmarks do.

The same model, rows, batches, optimizer, numbers reported after every batch, and threads, on the CPU; each in a process
of its own, in turn. Counted is from the end of batch WARM_UP to the end of the last one. Run with the Python of the
trainer's tests (trainer/requirements-test.txt).
"""
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = "finetuned/tiny-llama"
ROUNDS, BATCHES, WARM_UP, BATCH_SIZE, CONTEXT = 3, 200, 20, 8, 256
THREADS = 1
RATE = 1e-4
# Longer than the context, so that every row has CONTEXT tokens.
LINES = [{"prompt": f"Count on from {n}:", "response": "".join(f" {n + i}" for i in range(1, 200))}
         for n in range(400)]


def ours(folder):
    """From the times of the trainer's own events."""
    data = folder / "train.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    spec = folder / "spec.json"
    spec.write_text(json.dumps({
        "model": MODEL, "task_type": "INSTRUCTION_FINETUNE", "train_data_path": str(data), "learning_rate": RATE,
        "context_length": CONTEXT, "training_duration": f"{BATCHES}ba", "save_interval": f"{BATCHES}ba",
        "recipe": {"batch_size": BATCH_SIZE, "optimizer": "ADAMW", "precision": "FLOAT32"}}))
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir()
    events = folder / "events.jsonl"
    subprocess.run([sys.executable, "-m", "trainer"], check=True, cwd=ROOT, stdout=subprocess.DEVNULL, env={
        **os.environ, "FINETUNED_CONTRACT": "1", "FINETUNED_SPEC": str(spec), "FINETUNED_EVENTS": str(events),
        "FINETUNED_CONTROL": str(folder / "control.json"), "FINETUNED_CHECKPOINT_DIR": str(checkpoints),
        "FINETUNED_RESUME_FROM": "", "FINETUNED_ERROR_FILE": str(folder / "error.json"),
        "FINETUNED_THREADS": str(THREADS)})
    batches = [e for e in map(json.loads, events.read_text().splitlines()) if e["type"] == "progress"]
    first, last = batches[WARM_UP - 1], batches[-1]
    tokens = last["tokens"] - first["tokens"]
    if len(batches) != BATCHES or tokens != (BATCHES - WARM_UP) * BATCH_SIZE * CONTEXT:
        raise SystemExit(f"{len(batches)} batches, {tokens} tokens: not what was to be measured")

    def time(event):
        return datetime.datetime.fromisoformat(event["ts"].replace("Z", "+00:00")).timestamp()

    return tokens / (time(last) - time(first))


def theirs(folder):
    """In this process, which is to be one of its own."""
    import time

    import torch
    import transformers

    torch.set_num_threads(THREADS)
    source = ROOT / "trainer/models" / MODEL
    model = transformers.LlamaForCausalLM(transformers.AutoConfig.from_pretrained(source))
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    rows = []
    for line in LINES:
        prompt = tokenizer(line["prompt"])["input_ids"]
        ids = (prompt + tokenizer(line["response"], add_special_tokens=False)["input_ids"])[:CONTEXT]
        assert len(ids) == CONTEXT
        rows.append({"input_ids": ids, "attention_mask": [1] * CONTEXT,
                     "labels": [-100] * len(prompt) + ids[len(prompt):]})
    times = {}

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, arguments, state, control, **_):
            times[state.global_step] = time.monotonic()

    transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(folder), max_steps=BATCHES, per_device_train_batch_size=BATCH_SIZE, learning_rate=RATE,
            lr_scheduler_type="linear", optim="adamw_torch", max_grad_norm=1.0, logging_steps=1, save_strategy="no",
            report_to=[], disable_tqdm=True, use_cpu=True, seed=17),
        train_dataset=rows, data_collator=transformers.default_data_collator, callbacks=[Clock()]).train()
    return (BATCHES - WARM_UP) * BATCH_SIZE * CONTEXT / (times[BATCHES] - times[WARM_UP])


def their_process(folder):
    done = subprocess.run([sys.executable, __file__, "--theirs", str(folder)], check=True, stdout=subprocess.PIPE,
                          text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    return float(done.stdout.splitlines()[-1])


def spread(values, digits):
    return (f"{statistics.median(values):.{digits}f} "
            f"[{min(values):.{digits}f} to {max(values):.{digits}f}]")


def main():
    if sys.argv[1] == "--theirs":
        print(theirs(pathlib.Path(sys.argv[2])))
        return
    out = pathlib.Path(sys.argv[1])
    mine, other = [], []
    for _ in range(ROUNDS):
        for measure, rates in ((ours, mine), (their_process, other)):
            with tempfile.TemporaryDirectory() as folder:
                rates.append(measure(pathlib.Path(folder)))
    ratios = [a / b for a, b in zip(mine, other)]
    ratio = statistics.median(ratios)
    row = (f"| trainer | tiny-llama, batches of {BATCH_SIZE} x {CONTEXT} tokens, AdamW, float32, {THREADS} thread of the "
           f"CPU | {spread(mine, 0)} tokens/s | transformers' Trainer: {spread(other, 0)} tokens/s; ratio "
           f"{spread(ratios, 2)} | >= 1.0 x | {'yes' if ratio >= 1 else '**no**'} |\n")
    (out / "trainer.md").write_text(row)
    (out / "trainer.json").write_text(json.dumps([{
        "name": "trainer", "met": ratio >= 1,
        "numbers": {"tokens_per_s": statistics.median(mine), "their_tokens_per_s": statistics.median(other),
                    "ratio": ratio}}]) + "\n")
    print(row, end="")


if __name__ == "__main__":
    main()
