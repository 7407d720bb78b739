"""A Hugging Face hub, for workers that may reach one (FINETUNED_HUB is 1).

The library huggingface_hub makes all requests and keeps what it fetches in its cache; its own variables say where the
hub and the cache are, and with which token (README.md). It is not even loaded before something is to be fetched.

What a repository holds at a commit never changes. Its list of files is therefore kept in the cache beside the files,
and an attempt that finds both needs no hub.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Callable, Mapping, TypeVar
from urllib.parse import quote

from trainer import hub_errors
from trainer.errors import EXIT_USAGE, NETWORK, TrainerError

MODEL, DATASET = "model", "dataset"  # the library's words for kinds of repositories
MAIN = "main"
# The most files that a repository may list.
MAX_LISTED_FILES = 100_000
# Between tries, where the hub does not answer: a minute, because attempts that give up are soon used up.
RETRY_PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_REQUEST_SECONDS = 10.0
_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)
_LISTINGS = ".finetuned"  # in a repository's folder of the cache
# Set for the library where they are not: it reports use, draws progress bars, and its warnings have whole addresses.
_QUIET = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_VERBOSITY": "error"}

T = TypeVar("T")


@dataclass(frozen=True)
class Repository:
    """What a repository holds at one commit: its files with their sizes, where the hub says them."""

    kind: str
    name: str
    commit: str
    files: Mapping[str, int | None]
    configs: list  # of a data set: the `configs` of its card, or empty


def is_commit(text: object) -> bool:
    return isinstance(text, str) and _COMMIT.fullmatch(text) is not None


class Hub:
    """Opens repositories and fetches files. `check_stop` is called between requests and may raise.

    `revisions` has the commit of each repository that was opened. An attempt that resumes begins with those of the
    attempt before and so gets the same ones, wherever the branches are by then.
    """

    def __init__(self, check_stop: Callable[[], None], revisions: Mapping[str, str] | None = None) -> None:
        self._check_stop = check_stop
        self.revisions = dict(revisions or {})

    def open(self, kind: str, name: str, revision: str = MAIN, field: str | None = None) -> Repository:
        """The repository at a branch, tag or commit; from the cache where that is a commit, or the hub is away."""
        key = f"{kind}s/{name}@{revision}"
        wanted = self.revisions.get(key, revision)
        subject = hub_errors.Subject(kind, name, wanted, field)
        listing = self._listing_file(kind, name, wanted)
        known = _read_listing(listing)
        if known is None or not is_commit(wanted):
            try:
                known = self._ask(subject, lambda: self._look_up(kind, name, wanted),
                                  RETRY_PAUSES_SECONDS if known is None else ())
            except TrainerError as error:
                if known is None or error.attribution != NETWORK:
                    raise
                _say(f"{error.message} Going on with what is in the cache.")
            else:
                for file in (listing, self._listing_file(kind, name, known.commit)):
                    if _read_listing(file) != known:  # a cache that is full already may be read-only
                        self._ask(subject, lambda: _write_listing(file, known))
        self.revisions[key] = known.commit
        return known

    def fetch(self, repository: Repository, file: str, max_bytes: int, field: str | None = None) -> Path:
        """The file in the cache, fetched where it is not there."""
        library = _library()
        subject = hub_errors.Subject(repository.kind, repository.name, repository.commit, field)
        place = {"repo_id": repository.name, "filename": file, "repo_type": repository.kind,
                 "revision": repository.commit}
        found = library.try_to_load_from_cache(**place)
        if isinstance(found, str):
            return Path(found)
        size = repository.files[file]
        if size is None:
            size = self._ask(subject, lambda: library.get_hf_file_metadata(library.hf_hub_url(**place)).size)
        if size is None or size > max_bytes:
            raise hub_errors.too_large(subject, file, size, max_bytes)
        free = self._ask(subject, lambda: shutil.disk_usage(_existing(_cache())).free)
        if size > free:
            raise hub_errors.disk_full(subject, f"{file} has {size} bytes, and {free} are free in {_cache()}")
        _say(f"fetching {file!r} of {repository.name} at {repository.commit}, {size} bytes")
        start_anew = False

        def download() -> str:
            nonlocal start_anew
            try:
                return library.hf_hub_download(**place, force_download=start_anew)
            except Exception as error:
                start_anew = hub_errors.is_spoilt(error)  # otherwise it goes on where it was
                raise

        return Path(self._ask(subject, download))

    def _look_up(self, kind: str, name: str, revision: str) -> Repository:
        library = _library()
        look_up = library.model_info if kind == MODEL else library.dataset_info
        info = look_up(name, revision=revision, files_metadata=True, timeout=_REQUEST_SECONDS)
        files = {file.rfilename: file.size for file in info.siblings or ()}
        if not is_commit(info.sha) or len(files) > MAX_LISTED_FILES:
            subject = hub_errors.Subject(kind, name, revision, None)
            raise hub_errors.failed(subject, f"it names no commit, or more than {MAX_LISTED_FILES} files")
        card = info.card_data if kind == DATASET else None
        configs = card.get("configs") if card is not None else None
        return Repository(kind, name, info.sha, files, configs if isinstance(configs, list) else [])

    def _ask(self, subject: hub_errors.Subject, request: Callable[[], T],
             pauses: tuple[float, ...] | None = None) -> T:
        """What the request gives; it is repeated after each pause while the hub does not answer."""
        pauses = RETRY_PAUSES_SECONDS if pauses is None else pauses
        for pause in (*pauses, None):
            self._check_stop()
            try:
                return request()
            except Exception as error:  # the library's, of requests, or of the disk
                explained = hub_errors.explain(error, subject)
            if explained.attribution != NETWORK or pause is None:
                raise explained
            _say(f"{explained.message} Trying again in {pause:g} s.")
            self._wait(pause)
        raise AssertionError

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check_stop()
            time.sleep(min(left, 0.25))

    @staticmethod
    def _listing_file(kind: str, name: str, revision: str) -> Path:
        """In the repository's folder of the cache: whoever deletes that one deletes both."""
        _library()
        return _cache() / "--".join((f"{kind}s", *name.split("/"))) / _LISTINGS / f"{quote(revision, safe='')}.json"


def _library():
    """huggingface_hub, which takes half a second to load and reads its variables then."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    if endpoint and not endpoint.startswith(("https://", "http://")):
        raise TrainerError("INVALID_ENVIRONMENT", "HF_ENDPOINT must begin with https:// or http://.",
                           exit_status=EXIT_USAGE)
    if endpoint:
        os.environ["HF_ENDPOINT"] = endpoint  # the library puts a slash behind it
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import huggingface_hub

    return huggingface_hub


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)


def _read_listing(path: Path) -> Repository | None:
    try:
        return Repository(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _write_listing(path: Path, repository: Repository) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{uuid.uuid4().hex}")  # several trainers may share a cache
    new.write_text(json.dumps(asdict(repository)), "utf-8")
    new.replace(path)


def _say(text: str) -> None:
    print(f"trainer: {text}", file=sys.stderr, flush=True)
