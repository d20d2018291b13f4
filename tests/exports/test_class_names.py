"""Class names that XML cannot hold, in every format: read back as they are, and as one word each by other programs."""

from pathlib import Path

import numpy as np
import pytest
from tests.builders import tiny_checkpoint
from tests.exports.conftest import FILE_FORMATS

from allmlp import Predictor, export, open_model
from allmlp.exports import EXPORT_FORMATS, model_info, open_export

NAMES = ("a\x07", "caf\udce9", "\x00", "b\x1b[31mc", "d\x7fe\x85f", "g\uffffh", "\ud83d", "i\U0001f600")


@pytest.mark.parametrize("to", FILE_FORMATS)
def test_an_export_with_such_names_can_be_read_and_predicts_them(to: str, tmp_path: Path) -> None:
    """Fault: OpenVINO wrote an .xml file that nothing could read, and lone surrogates ended in an error of the library."""
    checkpoint = tiny_checkpoint(num_classes=len(NAMES), class_names=NAMES)
    path = export(checkpoint, to=to, out=tmp_path / f"x{EXPORT_FORMATS[to].ending}")
    assert open_export(path).description.class_names == NAMES
    photos = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    expected, found = (Predictor(open_model(each)).predict(list(photos)) for each in (checkpoint, path))
    assert [each.label for each in found] == [each.label for each in expected]
    assert {each.label for each in found} <= set(NAMES)


def test_other_programs_get_one_word_for_each() -> None:
    labels = model_info(tiny_checkpoint(num_classes=len(NAMES), class_names=NAMES).description)["labels"]
    assert labels.split(" ") == ["a_", "caf_", "_", "b_[31mc", "d_e_f", "g_h", "_", "i\U0001f600"]
