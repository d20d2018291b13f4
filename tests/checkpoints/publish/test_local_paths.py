"""What is published of a path on this machine: its last name."""

from pathlib import Path

import pytest

from allmlp.checkpoints.publish.local_paths import without_local_paths


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("trained by allmlp, recipe finetune, seed 0, step 5, from /home/ann/My runs/first", None),
        (
            "/home/Ann B. Smith/my weights/w.npz (ours): unknown origin; fits B/16",
            "w.npz (ours): unknown origin; fits B/16",
        ),
        ("/data/my secret: b16-i1k by its SHA-256: ImageNet-1k", "my secret: b16-i1k by its SHA-256: ImageNet-1k"),
        (r"C:\Users\ann\w.pth (ours): unknown origin", "w.pth (ours): unknown origin"),
        ("from /tmp/a b/c.npz; from 64 × 64 to 32 × 32 pixels: how", "from c.npz; from 64 × 64 to 32 × 32 pixels: how"),
        ("/home/anna/x.npz, /srv/x and (/home/ann).", "x.npz, x and (a home folder)."),
        ("file:///home/ann/x.npz", "x.npz"),
        (r"from \\server\share\x.npz.", "from x.npz."),
        (f"from {Path.home()}.", "from a home folder."),
    ],
)
def test_an_absolute_path_becomes_its_last_name(source: str, expected: str | None) -> None:
    assert without_local_paths(source) == (expected or "trained by allmlp, recipe finetune, seed 0, step 5, from first")


@pytest.mark.parametrize(
    "source",
    [
        "hf:timm/mixer_b16_224.goog_in21k: trained on ImageNet; fits S/16, B/16",
        "b16-i1k: trained on ImageNet-1k; Google's imagenet1k/Mixer-B_16.npz",
        "photos of https://example.org/cats, cats / dogs and runs/mine",
        "",
    ],
)
def test_other_words_stay(source: str) -> None:
    assert without_local_paths(source) == source
