"""What goes wrong with a hub, in words for the user.

The texts are made here and take nothing from the library's but a status or the operating system's word for an error:
its own have whole addresses, which may be signed, and headers, which have the token.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from trainer.errors import (EXIT_CONFIG, EXIT_DATA, EXIT_INTERNAL, EXIT_TEMPORARY, INFRASTRUCTURE, INTERNAL, NETWORK,
                            TrainerError)

_TOO_MANY_REQUESTS, _RANGE_NOT_SATISFIABLE = 429, 416
_TRY_AGAIN = {408, 425, _TOO_MANY_REQUESTS, _RANGE_NOT_SATISFIABLE}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class Subject:
    """What was asked for: a repository at a revision, and the field of the specification that names it."""

    kind: str
    name: str
    revision: str
    field: str | None

    def __str__(self) -> str:
        return f"{'model' if self.kind == 'model' else 'data set'} {self.name}"


def explain(error: Exception, subject: Subject) -> TrainerError:
    """The failure that stands for what the library raised."""
    from huggingface_hub import utils as library
    from requests import RequestException

    if isinstance(error, TrainerError):
        return error
    if isinstance(error, library.LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__  # raised for whatever kept it from asking the hub
    status = _status(error)
    if isinstance(error, library.RevisionNotFoundError):
        return _refused("HUB_REVISION_NOT_FOUND", subject, f"The hub has no revision {subject.revision} of {subject}. "
                        "It was never there, or its history was rewritten: start a new run with a revision that is.")
    if isinstance(error, (library.GatedRepoError, library.DisabledRepoError)) or (
            status in (401, 403) and not isinstance(error, library.RepositoryNotFoundError)):
        return _refused("HUB_ACCESS_DENIED", subject, f"The hub refuses access to {subject} (status {status}): it is "
                        "gated, private or disabled. " + _about_token())
    if isinstance(error, (library.RepositoryNotFoundError, library.HFValidationError)) or status == 404:
        return _refused("HUB_NOT_FOUND", subject, f"The hub has no {subject}, or it is private. Check the name; for a "
                        "private one: " + _about_token())
    if status is not None and (status >= 500 or status in _TRY_AGAIN):
        return _unreachable(subject, f"it answers with status {status}")
    if status is None and isinstance(error, (RequestException, library.OfflineModeIsEnabled)):
        return _unreachable(subject, _reason(error))
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return disk_full(subject, error.strerror)
    if isinstance(error, OSError) and status is None:
        if error.errno is None:  # the library's: a transfer of another length than announced, an answer without headers
            return _unreachable(subject, "its answer is incomplete")
        return TrainerError("HUB_CACHE_UNUSABLE", f"The worker cannot use its files of the hub: {error.strerror}: "
                            f"{error.filename}. Its operator has to correct HF_HOME, HF_HUB_CACHE or HF_TOKEN_PATH.",
                            attribution=INFRASTRUCTURE, exit_status=EXIT_TEMPORARY)
    return failed(subject, type(error).__name__ if status is None else f"status {status}")


def is_spoilt(error: Exception) -> bool:
    """Whether what is there of a file is no beginning of it, so that going on from it can never succeed."""
    incomplete = isinstance(error, OSError) and error.errno is None and "Consistency check" in str(error)
    return incomplete or _status(error) == _RANGE_NOT_SATISFIABLE


def disk_full(subject: Subject, why: str) -> TrainerError:
    return TrainerError("HUB_DISK_FULL", f"The worker has no room for {subject} in its cache of the hub: {why}. Its "
                        "operator has to make room, or to set HF_HUB_CACHE to a larger disk.",
                        attribution=INFRASTRUCTURE, exit_status=EXIT_TEMPORARY)


def too_large(subject: Subject, file: str, size: int | None, limit: int) -> TrainerError:
    has = "an unknown number of" if size is None else str(size)
    return TrainerError("HUB_FILE_TOO_LARGE", f"{file} of {subject} has {has} bytes; at most {limit} are fetched. "
                        "Use a smaller one, or cut it into several files.", field=subject.field,
                        exit_status=EXIT_DATA if subject.kind == "dataset" else EXIT_CONFIG)


def failed(subject: Subject, why: str) -> TrainerError:
    return TrainerError("HUB_FAILED", f"Cannot fetch {subject} from the hub: {why}. Is HF_ENDPOINT a Hugging Face hub?",
                        attribution=INTERNAL, exit_status=EXIT_INTERNAL)


def _refused(code: str, subject: Subject, message: str) -> TrainerError:
    return TrainerError(code, message, field=subject.field)


def _unreachable(subject: Subject, why: str) -> TrainerError:
    return TrainerError("HUB_UNREACHABLE", f"The hub cannot be reached for {subject}: {why}.",
                        attribution=NETWORK, exit_status=EXIT_TEMPORARY)


def _about_token() -> str:
    import huggingface_hub

    if huggingface_hub.get_token() is None:
        return "This worker has no token; its operator sets one by HF_TOKEN_PATH."
    return "The account of this worker's token has to be granted access."


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _reason(error: Exception) -> str:
    """The operating system's word for the error below, or else the name of the library's."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return below.strerror
        below = below.__cause__ or below.__context__
    return type(error).__name__
