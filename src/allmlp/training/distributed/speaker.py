"""The process that reports to the user: the first one, unless an error names another. Does not load torch."""

import os

from allmlp.errors import AllmlpError, ReportedError

__all__ = ["is_first_process", "is_speaker"]


def is_first_process() -> bool:
    """Return whether this is the first process of a torchrun job, which reports for all; True without torchrun."""
    return os.environ.get("RANK", "0") == "0"


def is_speaker(error: AllmlpError) -> bool:
    """Return whether this process reports the error that ends it.

    Before the processes are connected, no error names its reporter. In that case, the first process to claim a message
    reports it, as long as torchrun's store can be reached.
    """
    if isinstance(error, ReportedError):
        return error.is_speaker
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return True
    from allmlp.training.distributed.process_group import is_first_to_report  # loads torch

    return is_first_to_report(str(error))
