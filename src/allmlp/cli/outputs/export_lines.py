"""What `allmlp export` prints: the files that it wrote, their verification, and what to run next."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from allmlp.cli.console import aligned, command_line
from allmlp.io.display import escape, file_size

if TYPE_CHECKING:
    from allmlp.evaluation import ExportVerification
    from allmlp.model import MixerConfig

__all__ = ["next_rows", "verification_lines", "written_line"]


def written_line(files: Sequence[Path], num_bytes: int, config: "MixerConfig", precision: str, pixels: str) -> str:
    """Return what was written, with its size."""
    height, width = config.image_size
    names = " and ".join(map(escape, files))
    image = f"{height} × {width} pixels" + ("" if pixels == "out" else f" from photos of any size, pixels {pixels}")
    return f"Wrote {names} ({file_size(num_bytes)}, {precision}, {config.num_classes:,} classes, {image})"


def verification_lines(verification: "ExportVerification") -> list[str]:
    """Return how an export differs from its checkpoint, one line per figure."""
    v = verification
    rows = [
        ("same answer", f"{v.num_same:,} of {v.num_photos:,} photos ({v.num_same / v.num_photos:.2%})"),
        ("largest difference of a logit", f"{v.logit_difference:.3g} (the largest logit is {v.largest_logit:.3g})"),
        ("largest difference of a score", f"{v.probability_difference:.3g}"),
    ]
    if v.num_ties:
        rows.insert(1, ("others within the tolerance", f"{v.num_ties:,}, whose classes or whose threshold are as near"))
    if v.num_unknown_changed:
        rows.insert(1, ('became "unknown", or no longer are', f"{v.num_unknown_changed:,} of {v.num_photos:,} photos"))
    if v.pixels is not None:
        pixels = f"{v.pixels.num_different:,} of {v.pixels.num_values:,}, by up to {v.pixels.largest} grey levels"
        rows.insert(1, ("values of the images that differ", pixels))
    if v.top1 is not None:
        for name, (rate, low, high) in zip(("checkpoint", "export"), v.top1, strict=True):
            rows.append((f"top-1 of the {name}", f"{rate:.2%} (95% interval {low:.1%} to {high:.1%})"))
    return [f"Verified on {v.photos}:", *(f"  {line}" for line in aligned(rows))]


def next_rows(
    checkpoint: tuple[str, ...],
    path: Path,
    requirements: str | None,
    *,
    page: Path | None,
    has_classes: bool,
    is_verified: bool,
) -> list[tuple[str, str]]:
    """Return commands to run next; `checkpoint` has the options with which it was exported, and without which it differs.

    `path` is the export's file, which may be in the folder `page`. `requirements` is the list of a small environment, if the
    format has one.
    """
    without = "" if path.suffix.lower() == ".pt2" else ", without PyTorch"
    rows = [(f"{command_line('predict', path)} PHOTO.jpg", f"classify photos with it{without}")]
    if not has_classes:
        rows = [(f"{command_line('embed', path)} PHOTOS -o features.npz", f"compute features with it{without}")]
    if page is not None:
        server = f"python -m http.server -b 127.0.0.1 -d {shlex.quote(str(page))}"
        rows = [(escape(server), "serve the page to this computer, at http://127.0.0.1:8000")]
    if requirements is not None:
        install = f"pip install --no-deps /path/to/allmlp -r {shlex.quote(requirements)}"
        purpose = "all that runs it, without PyTorch, in a new environment; with the path of allmlp's source"
        rows.append((escape(install), purpose))
    if has_classes and not is_verified:
        command = command_line("export", *checkpoint, "--against", path, "--verify")
        engine = "" if page is None else ", in ONNX Runtime"
        rows.append((f"{command} PHOTOS", f"compare its answers with the checkpoint's{engine}"))
    return rows
