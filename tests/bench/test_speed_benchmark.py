"""benchmarks/speed.py keeps finished parts over an interruption; what is measured is replaced, because it takes minutes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks import speed


def test_a_finished_part_survives_an_interruption_and_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[tuple[str, int]] = []

    def measure(name: str, batch_size: int, minutes: float) -> dict[str, Any]:
        begun.append((name, batch_size))
        if batch_size == 32 and len(begun) < 3:
            raise KeyboardInterrupt
        return {"results": [batch_size], "start_up": {}, "left_out": {}, "gflop_per_image": 1.0}

    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path))
    monkeypatch.setattr(speed, "measure", measure)
    monkeypatch.setattr("allmlp.bench.tune", lambda *_, **__: None)
    monkeypatch.setattr(speed, "RESULTS", tmp_path / "speed")
    monkeypatch.setattr(speed, "PARTS", tmp_path / "speed_parts.json")
    monkeypatch.setattr(sys, "argv", ["speed.py", "--models", "starter"])
    with pytest.raises(KeyboardInterrupt):
        speed.main()
    assert not speed.RESULTS.exists()
    speed.main()
    assert begun == [("starter", 1), ("starter", 32), ("starter", 32)]
    assert "starter 1: measured before" in capsys.readouterr().out
    (result,) = speed.RESULTS.iterdir()
    assert json.loads(result.read_text())["models"]["starter"]["results"] == [1, 32]
    assert not speed.PARTS.exists()


@pytest.mark.parametrize(
    ("sets", "name"),
    [("avx2", "avx2.json"), ("avx2 avx512_f", "avx512.json"), ("bf16 sve", "other.json"), ("", "other.json")],
)
def test_a_result_replaces_none_of_another_kind_of_processor(sets: str, name: str) -> None:
    assert speed.result_file({"instruction_sets": sets}).name == name


def test_the_shares_of_the_time_add_up() -> None:
    assert sum(speed.SHARES.values()) == pytest.approx(1.0)
    assert {name for name, _ in speed.SHARES} == set(speed.MODELS)
