"""Number of threads that an engine computes with."""

import os
import sys
from pathlib import Path

from allmlp.hardware.num_decoding_threads import usable_cores

__all__ = ["THREADS_OF_QUOTA", "asked_threads", "num_compute_threads"]

THREADS_OF_QUOTA = "ALLMLP_QUOTA_THREADS"
"""The variable with the value that allmlp itself gave to OMP_NUM_THREADS, because of a quota (`limit_spinning`)."""


def num_compute_threads(root: Path = Path("/")) -> int:
    """Return the number of threads that an engine computes with; `allmlp bench --tune` remembers its results by it, too.

    If the user set OMP_NUM_THREADS, it is this number, and otherwise the number of physical cores that this process may use.
    Where torch is loaded, its own number takes the place of the variable, as a program may have changed it; without the
    variable, it is only an upper limit, because torch ignores the quotas of containers.

    `root` is the folder that holds proc/ and sys/.
    """
    asked = asked_threads()
    count = usable_cores(root, physical=True) if asked is None else asked
    if "torch" not in sys.modules:
        return count
    of_torch: int = sys.modules["torch"].get_num_threads()
    return of_torch if asked is not None else min(of_torch, count)


def asked_threads() -> int | None:
    """Return OMP_NUM_THREADS as the user set it; None if it is unset, not a positive number, or set by allmlp for a quota."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    setting = text.partition(",")[0].strip()
    is_ours = text == os.environ.get(THREADS_OF_QUOTA)
    return int(setting) if not is_ours and setting.isdecimal() and int(setting) > 0 else None
