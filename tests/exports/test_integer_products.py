"""Products in integers are found by the connections of a graph."""

import pytest

from allmlp.exports.integer_products import Operation, integer_weights


def graph(*lines: str) -> list[Operation]:
    """Return operations of lines such as "y = MatMul x w"."""
    operations = []
    for line in lines:
        output, _, rest = line.partition(" = ")
        operator, *inputs = rest.split()
        operations.append(Operation(operator, tuple(inputs), (output,)))
    return operations


QUANTISED = ("q = QuantizeLinear x s z", "x8 = DequantizeLinear q s z", "v = DequantizeLinear w t u")


@pytest.mark.parametrize(
    "lines",
    [
        (*QUANTISED, "y = MatMul x8 v"),
        (*QUANTISED[:2], "k = Cast w", "m = Mul k t", "y = MatMul x8 m"),
        (*QUANTISED, "y = Gemm v x8 b"),
        (*QUANTISED, "r = Reshape x8 n", "p = Transpose r", "y = MatMul p v"),
        (*QUANTISED, "p = Transpose v", "y = MatMul x8 p"),
        ("y = MatMul f m", "f = FakeQuantize x a b c d", "m = Multiply k t", "k = Convert w"),  # OpenVINO, in any order
    ],
)
def test_a_weight_that_multiplies_in_integers_is_found(lines: tuple[str, ...]) -> None:
    assert integer_weights(graph(*lines), {"w"}) == {"w"}


@pytest.mark.parametrize(
    "lines",
    [
        ("v = DequantizeLinear w t u", "y = MatMul x v"),
        ("k = Cast w", "m = Mul k t", "y = MatMul x m"),
        (*QUANTISED, "a = Add x8 b", "y = MatMul a v"),  # an addition is in float32
        (*QUANTISED, "y = MatMul x8 other"),
        (),
    ],
)
def test_other_weights_multiply_in_float32(lines: tuple[str, ...]) -> None:
    assert integer_weights(graph(*lines), {"w"}) == set()


def test_two_quantised_inputs_and_circles_are_refused() -> None:
    with pytest.raises(ValueError, match="two quantised inputs"):
        integer_weights(graph(*QUANTISED, "y = MatMul x8 x8"), {"w"})
    with pytest.raises(ValueError, match="circle"):
        integer_weights(graph("a = Reshape b n", "b = Reshape a n", "y = MatMul a w"), {"w"})


def test_time_is_linear_in_the_length_of_a_chain() -> None:
    chain = [f"x{index + 1} = Transpose x{index}" for index in range(50_000)]
    reversed_chain = graph("x0 = FakeQuantize x", *chain, "y = MatMul x50000 w")[::-1]
    assert integer_weights(reversed_chain, {"w"}) == {"w"}
