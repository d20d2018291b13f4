"""What an ONNX file says about itself is found without its weights, and damage is left to `read_onnx`."""

from pathlib import Path

import pytest
from tests.builders import tiny_checkpoint

from allmlp.checkpoints import as_arrays
from allmlp.exports import onnx_bytes, open_export, stated_info
from allmlp.exports.onnx_model.protobuf import encode_field

CONTENT = onnx_bytes(as_arrays(tiny_checkpoint()))


def test_it_is_what_the_whole_file_says(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(CONTENT)
    assert stated_info(path) == open_export(path).info


def test_the_weights_are_not_read(tmp_path: Path) -> None:
    """A weight that is changed is noticed by the digest of the whole file only."""
    path = tmp_path / "x.onnx"
    path.write_bytes(CONTENT)
    expected = stated_info(path)
    middle = len(CONTENT) // 2
    path.write_bytes(CONTENT[:middle] + bytes([CONTENT[middle] ^ 1]) + CONTENT[middle + 1 :])
    assert stated_info(path) == expected is not None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an ONNX file",
        CONTENT[:40],
        CONTENT[: len(CONTENT) // 2],
        b"\x0b" + CONTENT,  # a group
        b"".join(encode_field(14, b"\x0a\x06allmlp\x12\x02{}")),
        b"".join(encode_field(14, b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f")),
        b"\x72\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # longer than any file
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + CONTENT,
        b"\x08\x01" * 5000 + CONTENT,
    ],
)
def test_a_file_that_is_refused_later_says_nothing(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    assert stated_info(path) is None


def test_no_file_says_nothing(tmp_path: Path) -> None:
    assert stated_info(tmp_path / "absent.onnx") is None
    assert stated_info(tmp_path) is None
