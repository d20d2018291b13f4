"""Text for people: one printable line, whatever is in a name."""

import pytest

from allmlp.io.display import bullets, counted, escape, file_size, quote, shorten, summarise


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("träumen 猫.jpg", "träumen 猫.jpg"),
        ("a\nb\x1b[2J", "a\\nb\\x1b[2J"),
        ("gpj\u202e.exe", "gpj\\u202e.exe"),
        ("\udcff.jpg", "\\udcff.jpg"),
        (7, "7"),
    ],
)
def test_a_name_is_one_printable_line(name: object, shown: str) -> None:
    assert escape(name) == shown
    assert escape(name).isprintable()


def test_a_long_list_is_cut_and_counted() -> None:
    assert summarise([]) == ""
    assert summarise("abc", limit=3) == "a, b, c"
    assert summarise("abcd", limit=3) == "a, b, c and 1 more"
    assert summarise(["\n"] * 1010) == ", ".join(["\\n"] * 10) + " and 1,000 more"
    assert bullets(["a", "b"], limit=2) == "  a\n  b"
    assert bullets(["a", "b", "c"], limit=2) == "  a\n  b\n  ... and 1 more"


def test_a_value_is_quoted_within_a_limit() -> None:
    assert quote("a\u202eb") == r"'a\u202eb'"
    assert quote(["x", 1, None]) == "['x', 1, None]"
    assert quote("x" * 10**6, limit=10) == "'xxxxxx..."
    assert quote(10**5000) == "a number of thousands of digits"
    assert shorten("12345", 5) == "12345"
    assert shorten("123456", 5) == "12..."


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 steps"), (1, "1 step"), (2, "2 steps"), (1_281_167, "1,281,167 steps"), (1.5, "1.5 steps")],
)
def test_a_count_agrees_with_its_noun(number: float, words: str) -> None:
    assert counted(number, "step") == words


@pytest.mark.parametrize(
    ("num_bytes", "shown"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (12_400_000, "12 MB"),
        (3_810_000_000, "3.8 GB"),
    ],
)
def test_a_size_has_two_or_three_digits(num_bytes: int, shown: str) -> None:
    assert file_size(num_bytes) == shown
