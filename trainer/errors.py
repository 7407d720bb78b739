"""Failures the trainer can explain, and the exit status each one stands for.

Exit statuses follow sysexits(3), as the trainer contract asks: the control plane never retries 64,
65 and 78, and may retry everything else: after 75, or with the attribution `network` or
`infrastructure`, as a loss of the infrastructure and not as a failure of the trainer.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 64  # EX_USAGE: the environment the contract asks for is not there
EXIT_DATA = 65  # EX_DATAERR: the user's data
EXIT_STOPPED = EXIT_TEMPORARY = 75  # EX_TEMPFAIL: stopped on request, or by what may be better later
EXIT_CONFIG = 78  # EX_CONFIG: the contract version or the run's specification

USER = "user"
INTERNAL = "internal"
OOM = "oom"
NETWORK = "network"
INFRASTRUCTURE = "infrastructure"


class TrainerError(Exception):
    """A failure with a stable code, a sentence for the user and an attribution.

    `details` are further keys of the `failed` event, such as `file` and `line`.
    """

    def __init__(self, code: str, message: str, *, attribution: str = USER,
                 exit_status: int = EXIT_CONFIG, **details: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.attribution = attribution
        self.exit_status = exit_status
        self.details = details


class Stopped(Exception):
    """Raised where work is given up because the control plane asked for a stop."""
