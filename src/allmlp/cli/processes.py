"""Sharding of an evaluation across the processes of a torchrun job."""

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from allmlp.evaluation import Shares

__all__ = ["joined_shares"]


@contextlib.contextmanager
def joined_shares(device: str) -> "Iterator[tuple[Shares, str]]":
    """Connect the processes; yield this process's share and its device. An error that ends one process ends all of them.

    Raises:
        ConfigError: an unavailable device, fewer GPUs than processes, or processes that cannot connect.
        ProcessLostError: another process was killed or hangs.
    """
    from allmlp.evaluation import SINGLE_PROCESS, Shares

    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield SINGLE_PROCESS, device
        return
    import torch

    from allmlp.hardware.devices import choose_device
    from allmlp.training import join_ranks

    chosen = choose_device(device)
    with join_ranks(chosen) as group:

        def gather(rows: "NDArray[np.float32]") -> "NDArray[np.float32]":
            gathered: NDArray[np.float32] = group.gather_rows(torch.from_numpy(rows).to(group.device)).cpu().numpy()
            return gathered

        # `chosen` is enough for a GPU: `join_ranks` made this process's GPU the current one.
        yield Shares(group.rank, group.count, gather), chosen
