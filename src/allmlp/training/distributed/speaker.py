"""Which of several processes speaks: the first one, but where an error says who reports it. Costs no torch."""

import os

from allmlp.errors import AllmlpError, ReportedError

__all__ = ["is_first_process", "is_speaker"]


def is_first_process() -> bool:
    """Return whether this process speaks for all that torchrun started with it; True without torchrun."""
    return os.environ.get("RANK", "0") == "0"


def is_speaker(error: AllmlpError) -> bool:
    """Return whether this process reports an error that ends it.

    Before the processes have met nothing says who reports it. Then the first that asks about a message does, as long as
    torchrun's store is there to ask.
    """
    if isinstance(error, ReportedError):
        return error.is_speaker
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return True
    from allmlp.training.distributed.process_group import is_first_to_say  # loads torch

    return is_first_to_say(str(error))
