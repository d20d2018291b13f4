"""Number of threads that an engine other than torch computes with."""

import os
import sys
from pathlib import Path

from allmlp.hardware.num_decoding_threads import usable_cores

__all__ = ["num_compute_threads"]


def num_compute_threads(root: Path = Path("/")) -> int:
    """Return the number of threads that torch computes with; without torch, as it would choose.

    That is OMP_NUM_THREADS if it is set, and else one thread per physical core that this process may use. `root` is the folder
    that holds proc/ and sys/.
    """
    if "torch" in sys.modules:
        count: int = sys.modules["torch"].get_num_threads()
        return count
    setting = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if setting.isdecimal() and int(setting) > 0:
        return int(setting)
    return usable_cores(root, physical=True)
