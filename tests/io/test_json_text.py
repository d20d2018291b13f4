"""JSON on standard output is read back as it was, in every encoding, and leaves umlauts readable."""

import io
import json

import pytest

from allmlp.io.json_object import json_text

VALUE = {"grün": ["röt", "衣", "\x1b[31m", "\u202e", "\udcff", "\U000e0001", 'a"b\\', "\n"]}


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("indent", [None, 2])
def test_it_is_read_back(encoding, indent, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", stream)
    text = json_text(VALUE, indent=indent)
    stream.write(text)  # fails for what the encoding lacks
    assert json.loads(text) == VALUE
    assert ("grün" in text) == (encoding == "utf-8")
    assert text.replace("\n", "").isprintable()
