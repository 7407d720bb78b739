"""Data sets of a hub: `<dataset>/<split>` or `<entity>/<dataset>/<split>`, with `@<revision>` behind it or not.

Which files make a split is said by the card's `configs`, or else by their names, as the hub documents it ("Data files
configuration", "File names and splits"). Nothing of the repository is run.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Iterable, Mapping

from trainer import hub, spec
from trainer.data import DataFile
from trainer.errors import TrainerError
from trainer.hub import Hub

MAX_FILE_BYTES = 16 * 1024**3
MAX_FILES = 10_000  # of one split
# The words that stand for a split in a name of a file or folder.
KEYWORDS = {"train": ("train", "training"), "validation": ("validation", "valid", "val", "dev"),
            "test": ("test", "testing", "eval", "evaluation")}
# Where a split is there in several formats, that of most files counts, and of equally many the first.
_EXAMPLES, _TEXT = (".jsonl", ".json", ".csv", ".parquet"), (".txt",)
_NOT_DATA = {"config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_REVISION = r"[A-Za-z0-9][\w./-]{0,199}"
_PATH = re.compile(rf"(?P<name>(?:{_NAME}/)?{_NAME})/(?P<split>\w{{1,100}})(?:@(?P<revision>{_REVISION}))?", re.ASCII)
_SHARD = re.compile(r"data/(\w+)-\d{5}-of-\d{5}[^/]*", re.ASCII)
_BETWEEN = "[-._ 0-9]"


@dataclass(frozen=True)
class DatasetId:
    name: str
    split: str
    revision: str


@dataclass(frozen=True)
class HubDataset:
    files: list[DataFile]
    revision: str


def parse(path: str, field: str) -> DatasetId:
    match = _PATH.fullmatch(path)
    if match is None or ".." in path:
        raise TrainerError("INVALID_DATASET_ID", f"Hugging Face dataset {path} must be in the format "
                           "<dataset>/<split> or <entity>/<dataset>/<split>. Behind it may stand @ and a revision; "
                           "a path begins with /.", field=field)
    return DatasetId(match["name"], match["split"], match["revision"] or hub.MAIN)


def fetch(source: Hub | None, path: str, task_type: str, field: str) -> HubDataset:
    """All files of the split, in the cache, in the order of their names."""
    if source is None:
        raise TrainerError("HUB_NOT_ALLOWED", f"{field}: {path} is no absolute path, and this worker may not fetch "
                           "data sets from a hub (FINETUNED_HUB is not 1). Give an absolute path, or use a worker "
                           "that may.", field=field)
    wanted = parse(path, field)
    repository = source.open(hub.DATASET, wanted.name, wanted.revision, field)
    names = _files_of_split(wanted, repository, _TEXT if task_type == spec.CONTINUED_PRETRAIN else _EXAMPLES, field)
    shown = f"{wanted.name}@{repository.commit[:8]}"
    return HubDataset([DataFile(f"{shown}/{name}", source.fetch(repository, name, MAX_FILE_BYTES, field))
                       for name in names], repository.commit)


def _files_of_split(wanted: DatasetId, repository: hub.Repository, extensions: tuple[str, ...],
                    field: str) -> list[str]:
    asked = f"Hugging Face dataset {wanted.name}/{wanted.split}"
    config = _default_config(repository.configs, asked, field)
    usable = [name for name in sorted(repository.files) if name.endswith(extensions) and not _is_hidden(name)]
    there = splits(usable, config)
    split = wanted.split if wanted.split in there else _canonical(wanted.split)
    if split not in there:
        has = "It has " + ", ".join(sorted(there)) if there else f"It has no {', '.join(extensions)} files"
        raise TrainerError("SPLIT_NOT_FOUND", f"{asked}: Split not found. {has} (at {repository.commit[:8]}).",
                           field=field)
    names = _of_one_format(there[split], extensions)  # sorted, as `usable` is
    if len(names) > MAX_FILES:
        raise TrainerError("TOO_MANY_FILES", f"{asked} has {len(names)} files; at most {MAX_FILES} are fetched.",
                           field=field)
    return names


def splits(names: Iterable[str], config: Mapping | None = None) -> dict[str, list[str]]:
    """The files of each split. The first convention that finds one counts for all files."""
    names = list(names)
    if config is not None:
        base = str(config.get("data_dir") or "").strip("/")
        names = [name for name in names if not base or name.startswith(base + "/")]
        if "data_files" in config:
            return _by_card(names, config["data_files"], base)
    for find in (_by_shard, _by_folder, _by_file):
        found: dict[str, list[str]] = {}
        for name in names:
            for split in find(name):
                found.setdefault(split, []).append(name)
        if found:
            return found
    return {"train": names} if names else {}


def _by_shard(name: str) -> list[str]:
    match = _SHARD.fullmatch(name)
    return [match[1]] if match else []


def _by_folder(name: str) -> list[str]:
    return [split for split in KEYWORDS if any(_mentions(part, split) for part in name.split("/")[:-1])]


def _by_file(name: str) -> list[str]:
    return [split for split in KEYWORDS if _mentions(name.rsplit("/", 1)[-1], split)]


def _mentions(part: str, split: str) -> bool:
    return re.search(rf"(?:^|{_BETWEEN})(?:{'|'.join(KEYWORDS[split])})(?:{_BETWEEN}|$)", part) is not None


def _by_card(names: list[str], data_files: object, base: str) -> dict[str, list[str]]:
    """`data_files` is a pattern, a list of them, or a list of {split, path}; patterns alone mean `train`."""
    entries = data_files if isinstance(data_files, list) else [data_files]
    found: dict[str, list[str]] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            entry = {"split": "train", "path": entry}
        paths = entry.get("path")
        for pattern in paths if isinstance(paths, list) else [paths]:
            whole = f"{base}/{pattern}" if base else str(pattern)
            matching = [name for name in names if _pattern(whole).fullmatch(name)]
            if matching:
                found.setdefault(str(entry.get("split")), []).extend(matching)
    return {split: sorted(set(files)) for split, files in found.items()}


def _pattern(text: str) -> re.Pattern:
    """`*` and `?` within a folder, `**` over folders."""
    parts = re.split(r"(\*\*/?|\*|\?)", text.removeprefix("./"))
    return re.compile("".join({"**": ".*", "**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part))
                              for part in parts))


def _default_config(configs: list, asked: str, field: str) -> Mapping | None:
    """The card's configuration that counts where none is named; None where the names of files decide."""
    known = [config for config in configs if isinstance(config, dict)
             and ("data_files" in config or "data_dir" in config)]
    if len(known) < 2:
        return known[0] if known else None
    for config in known:
        if config.get("default") is True or config.get("config_name") == "default":
            return config
    names = ", ".join(str(config.get("config_name")) for config in known)
    raise TrainerError("DATASET_CONFIG_NEEDED", f"{asked}: the data set has several configurations ({names}) and none "
                       "is the default, so its files cannot be told apart here. Use one with a single configuration.",
                       field=field)


def _canonical(split: str) -> str:
    return next((known for known, words in KEYWORDS.items() if split in words), split)


def _of_one_format(names: list[str], extensions: tuple[str, ...]) -> list[str]:
    counts = Counter(name[name.rindex("."):] for name in names)
    chosen = max(extensions, key=lambda extension: counts[extension])  # the first of equals
    return [name for name in names if name.endswith(chosen)]


def _is_hidden(name: str) -> bool:
    parts = name.split("/")
    return parts[-1] in _NOT_DATA or any(part.startswith((".", "__")) for part in parts)
