"""How an engine divides its work on the CPU: threads, micro-batches that are computed at once, and their size."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["MAX_STREAMS", "EngineSettings"]

MAX_STREAMS = 64

_LARGEST = {"num_threads": 1024, "num_streams": MAX_STREAMS, "largest_micro_batch": 64}


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Settings of ONNX Runtime and OpenVINO, which change speed and memory, and answers only by the rounding of sums.

    Attributes:
        num_threads: in all; None: as many as `num_compute_threads`.
        num_streams: micro-batches of one call that are computed at once, each by its share of the threads. One photo alone is
            computed by all threads; for this, the engine holds a second copy of the weights.
        largest_micro_batch: the number of images of the largest one.
        spins: whether threads wait actively for the next operation. Only in ONNX Runtime.

    Raises:
        ValueError: a number out of range.
    """

    num_threads: int | None = None
    num_streams: int = 1
    largest_micro_batch: int = 16
    spins: bool = False

    def __post_init__(self) -> None:
        for name, largest in _LARGEST.items():
            value = getattr(self, name)
            if value is None and name == "num_threads":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
                raise ValueError(f"{name} is {value!r}; expected an integer from 1 to {largest}")
        if not isinstance(self.spins, bool):
            raise ValueError(f"spins is {self.spins!r}; expected true or false")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "EngineSettings":
        """Return the settings that `to_dict` wrote. Raises TypeError or ValueError for anything else."""
        return cls(**values)
