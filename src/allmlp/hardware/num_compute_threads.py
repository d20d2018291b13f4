"""Number of threads that an engine other than torch computes with."""

import os
import sys
from pathlib import Path

from allmlp.hardware.num_decoding_threads import usable_cores

__all__ = ["num_compute_threads", "usual_compute_threads"]


def num_compute_threads(root: Path = Path("/")) -> int:
    """Return the number of threads that torch computes with; without torch, `usual_compute_threads`.

    `root` is the folder that holds proc/ and sys/.
    """
    if "torch" in sys.modules:
        count: int = sys.modules["torch"].get_num_threads()
        return count
    return usual_compute_threads(root)


def usual_compute_threads(root: Path = Path("/")) -> int:
    """Return OMP_NUM_THREADS if it is set, and else the number of physical cores, whether or not torch is loaded.

    torch may choose another number: it ignores the limits of containers, and takes the fast cores of a Mac.
    """
    setting = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if setting.isdecimal() and int(setting) > 0:
        return int(setting)
    return usable_cores(root, physical=True)
