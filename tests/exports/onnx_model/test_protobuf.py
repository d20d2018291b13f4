"""The wire format: as the library protobuf writes it, and damaged in every way."""

import random

import onnx
import pytest
from onnx import TensorProto, helper
from tests.builders import tiny_checkpoint

from allmlp.checkpoints import as_arrays
from allmlp.exports import onnx_bytes
from allmlp.exports.onnx_model.protobuf import encode_field, encode_message, read_fields, read_integers

CONTENT = onnx_bytes(as_arrays(tiny_checkpoint(num_blocks=1)))


def test_fields_are_those_of_the_library():
    proto = onnx.load_from_string(CONTENT)
    fields = list(read_fields(memoryview(CONTENT)))
    assert b"".join(field.raw for field in fields) == CONTENT
    (graph,) = (field.content for field in fields if field.number == 7)
    assert graph == proto.graph.SerializeToString(deterministic=True)
    assert [field.integer for field in fields if field.number == 1] == [proto.ir_version]
    assert [field.text for field in fields if field.number == 2] == ["allmlp"]
    assert b"".join(encode_field(7, graph)) in CONTENT


@pytest.mark.parametrize("dims", [[], [1], [300, 2], [-1, 2**62]])
def test_packed_and_single_integers(dims: list[int]):
    single = TensorProto(dims=dims).SerializeToString()
    packed = helper.make_attribute("ints", dims, attr_type=onnx.AttributeProto.INTS).SerializeToString()
    expected = [value % 2**64 for value in dims]
    assert [
        i for field in read_fields(memoryview(single)) if field.number == 1 for i in read_integers(field)
    ] == expected
    assert [
        i for field in read_fields(memoryview(packed)) if field.number == 8 for i in read_integers(field)
    ] == expected


@pytest.mark.parametrize(
    "damaged",
    [
        b"\x0a",  # a length that is missing
        b"\x0a\x05abc",  # content that is too short
        b"\x0a" + b"\xff" * 9 + b"\x01abc",  # an enormous length
        b"\x08" + b"\xff" * 20,  # an integer without an end
        b"\x0d\x01",  # a fixed number that is cut short
        b"\x0b\x0c",  # a group
    ],
)
def test_damage_is_a_value_error(damaged: bytes):
    with pytest.raises(ValueError, match=r"cut short|damaged|unknown kind"):
        list(read_fields(memoryview(damaged)))


def test_any_bytes_end_or_are_a_value_error():
    generator = random.Random(0)
    for _ in range(2000):
        content = generator.randbytes(generator.randrange(40))
        try:
            fields = list(read_fields(memoryview(content)))
        except ValueError:
            continue
        assert b"".join(field.raw for field in fields) == content


def test_a_message_in_parts_is_encoded_as_the_joined_one():
    parts = [b"a" * 200, memoryview(b"bc"), b""]
    assert b"".join(encode_message(7, parts)) == b"".join(encode_field(7, b"".join(parts)))
