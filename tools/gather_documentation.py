#!/usr/bin/env python3
"""Gathers training data from this machine's own documentation.

    gather_documentation.py FOLDER

Writes, each with a small part held out for evaluation:
    text/, text-eval/                   plain text, for CONTINUED_PRETRAIN
    pairs.jsonl, pairs-eval.jsonl       prompt and response, for INSTRUCTION_FINETUNE

The text is that of the manual pages, and the pairs ask what a manual page is about (its one-line description). An
image without manuals (Debian's containers leave them out) has package descriptions instead. Exits with 1 when there
are fewer than 1,000 pairs. The same machine gives the same data.
"""
import gzip
import json
import pathlib
import re
import subprocess
import sys

MIN_PAIRS = 1000
MAX_PAIRS = 4000
MAX_TEXT_BYTES = 400_000
EVAL_PAIRS = 80
EVAL_TEXT_BYTES = 32_000
MAX_LINE = 300


def from_manuals():
    """(name, description) and text of manual pages, read from their NAME sections and bodies."""
    pairs, texts, size = {}, [], 0
    for path in sorted(pathlib.Path("/usr/share/man").glob("man[1-8]/*.gz")):
        try:
            source = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
        except (OSError, EOFError, gzip.BadGzipFile):
            continue
        match = re.search(r'^\.S[Hh] "?NAME"?\s*\n(.*?)^\.S', source, re.M | re.S)
        if match:
            line = strip_roff(match[1]).replace("\n", " ")
            name, dash, description = line.partition(" - ")
            if dash and description:
                pairs.setdefault(name.split(",")[0].strip(), description.strip())
        if size < MAX_TEXT_BYTES:
            text = strip_roff(source)
            texts.append(text)
            size += len(text)
    return pairs, texts


def strip_roff(source: str) -> str:
    """The plain words of a page: requests dropped, escapes resolved. Good enough to read, not to print."""
    lines = []
    for line in source.splitlines():
        if line.startswith((".\\\"", "'\\\"", ".TH", ".de", ".if", ".ie", ".el", ".nr", ".ds")):
            continue
        if line.startswith((".", "'")):
            line = re.sub(r"^[.'][A-Za-z]{1,3}\s*", "", line).replace('"', "")
        line = re.sub(r"\\f[BIRP]|\\f\[[^]]*\]|\\[&|^/,:]|\\s[-+]?\d", "", line)
        line = line.replace("\\-", "-").replace("\\(bu", "*").replace("\\e", "\\").replace("\\ ", " ")
        line = re.sub(r"\\\(..|\\\[[^]]*\]|\\\*\(..", "", line).strip()
        if line:
            lines.append(line)
    return "\n".join(lines)


def from_packages():
    """(name, summary) and text of every package description that apt or dpkg knows."""
    try:
        out = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        out = b""
    if out.count(b"\nPackage: ") < MIN_PAIRS:
        out += pathlib.Path("/var/lib/dpkg/status").read_bytes()
    pairs, texts, size = {}, [], 0
    for stanza in out.decode("utf-8", "replace").split("\n\n"):
        name = re.search(r"^Package: (.+)$", stanza, re.M)
        description = re.search(r"^Description(?:-en)?: (.+(?:\n .+)*)", stanza, re.M)
        if not name or not description:
            continue
        summary, _, body = description[1].partition("\n")
        pairs.setdefault(name[1], summary.strip())
        if body and size < MAX_TEXT_BYTES:
            text = f"{name[1]}: {summary}\n" + re.sub(r"^ \.?", "", body, flags=re.M)
            texts.append(text)
            size += len(text)
    return pairs, texts


def main() -> int:
    folder = pathlib.Path(sys.argv[1])
    pairs, texts = from_manuals()
    source = "manual pages"
    if len(pairs) < MIN_PAIRS or sum(map(len, texts)) < MAX_TEXT_BYTES // 2:
        more_pairs, more_texts = from_packages()
        source = "manual pages and package descriptions" if pairs else "package descriptions"
        pairs = {**more_pairs, **pairs}
        texts += more_texts
    if len(pairs) < MIN_PAIRS:
        print(f"only {len(pairs)} descriptions were found on this machine, {MIN_PAIRS} are needed: "
              "apt-get update brings package descriptions", file=sys.stderr)
        return 1
    # Every so-manieth, so that evaluation is not one corner of the alphabet.
    names = sorted(pairs)
    names = names[:: max(1, len(names) // MAX_PAIRS)][:MAX_PAIRS]
    step = len(names) // EVAL_PAIRS
    held_out = set(names[::step][:EVAL_PAIRS])
    for file, wanted in (("pairs.jsonl", False), ("pairs-eval.jsonl", True)):
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / file, "w", encoding="utf-8") as out:
            for name in names:
                if (name in held_out) == wanted:
                    out.write(json.dumps({"prompt": f"What is {name}?", "response": pairs[name][:MAX_LINE]},
                                         ensure_ascii=False) + "\n")
    text = "\n\n".join(texts)[:MAX_TEXT_BYTES]
    for sub, part in (("text", text[EVAL_TEXT_BYTES:]), ("text-eval", text[:EVAL_TEXT_BYTES])):
        (folder / sub).mkdir(exist_ok=True)
        (folder / sub / "documentation.txt").write_text(part, encoding="utf-8")
    print(f"   {len(names) - len(held_out)} prompt/response pairs and {len(text) // 1000} kB of text from {source}")
    return 0


sys.exit(main())
