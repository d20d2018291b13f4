"""Whether several processes are about to train the same: their recipes, photos, versions and code, compared."""

import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import PIL
import torch
import torch.distributed as dist

import allmlp
from allmlp.checkpoints import Checkpoint
from allmlp.config import to_dict
from allmlp.data import ImageDataset, Split
from allmlp.errors import ConfigError
from allmlp.hardware.devices import has_native_bfloat16
from allmlp.io.display import escape, shorten
from allmlp.training.distributed.process_group import ProcessGroup
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.stored_run import StoredRun

__all__ = ["check_consistent", "facts_of", "weights_of"]

_MAX_SHOWN = 20


def facts_of(
    recipe: ResolvedRecipe,
    dataset: ImageDataset,
    path: Path,
    stored: StoredRun | None,
    checkpoint: Checkpoint | None,
    *,
    device: str,
) -> dict[str, str]:
    """Return what decides a run, as text by name.

    `dataset` has its validation split; `checkpoint` is what a new run is initialised from; `device` is this process's.
    """
    facts = {f"recipe: {name}": str(value) for name, value in _flat(to_dict(recipe), "").items()}
    facts |= {f"photos: {name}": _photos(split) for name, split in dataset.splits.items()}
    facts |= {} if checkpoint is None else weights_of(checkpoint)
    facts["classes"] = ", ".join(map(escape, dataset.class_names))
    if recipe.optimizer.name == "muon":  # on machines of several kinds the copies of the weights would drift apart
        facts["Muon orthogonalises in"] = "bfloat16" if has_native_bfloat16(device) else "float32"
    facts["run folder"] = f"{path.name} ({'new' if stored is None else 'existing'})"
    facts |= {"Python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__}
    return facts | {"pillow": PIL.__version__, "allmlp": f"{allmlp.__version__}, code {_code()}"}


def check_consistent(ranks: ProcessGroup, facts: Mapping[str, str]) -> None:
    """Compare the facts of all processes.

    Raises:
        ConfigError: on all of them, with everything in which one differs from the first.
    """
    if ranks.count == 1:
        return
    everyones: list[Any] = [None] * ranks.count
    dist.all_gather_object(everyones, dict(facts))
    found = [
        f"{name}: {_shown(everyones[0].get(name))} on process 0, {_shown(theirs.get(name))} on process {rank}"
        for rank, theirs in enumerate(everyones)
        for name in sorted({*everyones[0], *theirs})
        if everyones[0].get(name) != theirs.get(name)
    ]
    if found:
        more = [f"and {len(found) - _MAX_SHOWN:,} more"] if len(found) > _MAX_SHOWN else []
        with ranks.raise_on_all():
            raise ConfigError(
                "The processes are not about to train the same. These differ:\n  "
                + "\n  ".join(found[:_MAX_SHOWN] + more)
                + "\nGive all the same command, the same photos, the same run folder on a disk that all of them see, and the "
                "same versions."
            )


def _photos(split: Split) -> str:
    digest = hashlib.sha256("\0".join(split.sample_ids).encode("utf-8", "surrogateescape"))
    digest.update(split.labels.astype("<i8").tobytes())
    return f"{len(split):,}, names and labels {digest.hexdigest()[:12]}"


def weights_of(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the fact of a checkpoint's weights: a digest."""
    digest = hashlib.sha256()
    for name, value in sorted(checkpoint.weights.items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return {"initial weights": digest.hexdigest()[:12]}


def _code() -> str:
    """Return a digest of the package's source on this machine."""
    folder = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _shown(value: str | None) -> str:
    return "none" if value is None else shorten(value, 80)
