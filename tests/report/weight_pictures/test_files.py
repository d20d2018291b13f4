"""`draw_weights`: a picture with its numbers, or a folder of pictures, and what is refused."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.builders import tiny_checkpoint

from allmlp import CheckpointError, ConfigError, analyse_weights, draw_weights, save_checkpoint


def is_drawn(path: Path) -> bool:
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        image.load()
        return image.format == "PNG" and image.width > 800 and image.height > 200


def test_a_picture_is_written_next_to_its_numbers(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(num_blocks=5, image_size=(16, 24), tokens_mlp_dim=7)
    written = draw_weights(checkpoint, tmp_path / "new" / "picture.png")
    assert written == (tmp_path / "new" / "picture.png", tmp_path / "new" / "picture.json")
    assert is_drawn(written[0])
    assert json.loads(written[1].read_bytes()) == json.loads(json.dumps(analyse_weights(checkpoint).to_json_object()))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["picture.json", "picture.png"]


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_has_a_picture_of_each_drawn_block(is_there: bool, tmp_path: Path) -> None:
    if is_there:  # empty
        (tmp_path / "out").mkdir()
    saved = save_checkpoint(tiny_checkpoint(num_blocks=5), tmp_path / "saved")
    written = draw_weights(saved, str(tmp_path / "out"))
    names = ["overview.png", "block-1.png", "block-2.png", "block-3.png", "block-5.png", "filters.png", "weights.json"]
    assert [path.name for path in written] == names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    assert all(is_drawn(path) for path in written[:-1])
    assert len(json.loads(written[-1].read_bytes())["blocks"]) == 5


def test_many_units_and_filters_fit_on_a_picture(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(image_size=14 * 4, patch_size=4, tokens_mlp_dim=384, hidden_dim=256, num_blocks=1)
    overview, *_ = draw_weights(checkpoint, tmp_path / "out")
    with Image.open(overview) as image:
        assert image.width < 1400 and image.height < 900
    with Image.open(tmp_path / "out" / "block-1.png") as image:
        assert image.width < 2000 and 1000 < image.height < 4000


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    analysis = analyse_weights(tiny_checkpoint())
    first, second = (draw_weights(analysis, tmp_path / name)[0] for name in ("a.png", "b.png"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("weights.jpg", "expected a name that ends in .png, or a new folder's name without an ending"),
        ("weights.svg", "expected a name that ends in .png"),
        ("there.png", "there.png: it exists, and nothing is overwritten"),
        ("numbers.png", "numbers.json: it exists"),
        ("folder.png", "folder.png: it exists"),
        ("full", "full: it exists, and nothing is overwritten"),
        ("there", "there: it exists"),
        ("there/below.png", "there/below.png"),
        ("https://example.org/weights.png", "it is an address"),
        ("x" * 300 + ".png", "File name too long"),
        ("a\0b.png", "NUL"),
        ("", "is empty"),
        (None, "expected a path"),
        (3, "expected a path"),
    ],
)
def test_what_cannot_be_written_is_one_error_and_changes_nothing(
    out: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("there.png", "there", "numbers.json", "full/mine.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("mine")
    Path("folder.png").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError) as caught:
        draw_weights(tiny_checkpoint(), out)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 500
    assert sorted(tmp_path.rglob("*")) == before
    assert Path("there.png").read_text() == Path("there").read_text() == "mine"


def test_a_name_with_a_dot_is_a_folder_with_a_slash_at_its_end(tmp_path: Path) -> None:
    assert draw_weights(tiny_checkpoint(num_blocks=1), f"{tmp_path}/v1.2/")[0] == tmp_path / "v1.2" / "overview.png"


def test_what_is_no_checkpoint_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing"):
        draw_weights(tmp_path / "nothing", tmp_path / "out.png")
    assert not list(tmp_path.iterdir())
