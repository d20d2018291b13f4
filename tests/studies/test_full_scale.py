"""`--scale paper`: what the paper's trainings cost by the paper, and at this machine's rate."""

import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from allmlp.bench import measure_training
from allmlp.cli.main import main
from allmlp.model import cost, variant_config
from allmlp.studies import STUDIES, full_scale, full_scale_table, load_study
from allmlp.studies.full_scale import Rate, measured_rate
from allmlp.studies.study import FullScale
from allmlp.studies.table3 import paper_training


def test_the_table_has_the_paper_s_hours_and_this_machine_s() -> None:
    larger = FullScale("allmlp finetune", "B/16", 5e5, relative_cost=4.0)
    trainings = (paper_training("jft_b16"), paper_training("imagenet_b16"), larger)
    study = replace(load_study("permutations"), full_scale=trainings)
    asked: list[str] = []

    def rate(variant: str) -> Rate:
        asked.append(variant)
        return Rate(hours=50.0, batch_size=8)  # core-hours for a million photos

    table = full_scale_table(study, rate=rate)
    assert asked == ["B/16"]  # measured once
    assert list(table.columns[-2:]) == ["core-hours here", "images per step here"]
    assert [tuple(row) for row in table.rows] == [
        # 7 epochs of 300 million photos; 0.08 thousand core-days
        ("allmlp train PHOTOS --recipe jft_b16", "B/16", "2,100", "1,920", "105,000", "8"),
        ("allmlp train imagenet --recipe imagenet_b16", "B/16", "384", "240", "19,200", "8"),
        ("allmlp finetune", "B/16", "0.5", "", "100", "8"),  # at twice the image size
    ]
    assert full_scale_table(study, device="cuda", rate=rate).columns[-2] == "GPU-hours here"


@pytest.mark.parametrize("name", STUDIES)
def test_every_training_of_every_study_has_a_cost_here(name: str) -> None:
    table = full_scale_table(load_study(name), rate=lambda variant: Rate(cost_of(variant) / 1e9, 8))
    assert all(float(row[-2].replace(",", "")) > 0 for row in table.rows)


def cost_of(variant: str, **changes: Any) -> int:
    return sum(part.multiply_adds for part in cost(variant_config(variant, **changes)))


def test_larger_images_cost_as_much_as_their_multiply_adds() -> None:
    """Appendix C: four times the tokens, and four times the hidden units of token mixing."""
    finetunings = [each for each in load_study("resolution").full_scale if "448" in each.command]
    assert [each.variant for each in finetunings] == ["L/16", "L/16", "H/14"]
    for variant, tokens_mlp_dim, finetuning in zip(("L/16", "L/16", "H/14"), (512, 512, 640), finetunings, strict=True):
        larger = cost_of(variant, image_size=448, tokens_mlp_dim=4 * tokens_mlp_dim)
        assert finetuning.relative_cost == pytest.approx(larger / cost_of(variant))
    training = load_study("vtab1k").full_scale[-1]
    assert training.relative_cost == pytest.approx((14 * 4 + 5) / 19)  # 14 of the 19 tasks have large images


def test_the_rate_of_a_variant_follows_from_that_of_two_of_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def measure(config, **options):  # type: ignore[no-untyped-def]
        measured.append((config, options["precisions"], options["with_peers"]))
        return {
            "training": [{"contestant": "allmlp", "images_per_second": 100.0, "core_hours_per_million_images": 6.0}]
        }

    monkeypatch.setattr(full_scale, "measure_training", measure)
    whole = variant_config("L/16")
    hours, batch_size = measured_rate("L/16")
    assert batch_size == 8
    ((config, precisions, with_peers),) = measured
    assert config == replace(whole, num_blocks=2) and not with_peers
    assert precisions in (("float32",), ("bfloat16",))
    adds = {part.part: part.multiply_adds for part in cost(whole)}
    in_blocks = adds["token mixing"] + adds["channel mixing"]
    rest = adds["patch projection"] + adds["classifier"]
    assert hours == pytest.approx(6.0 * (in_blocks + rest) / (in_blocks / 12 + rest))


@pytest.mark.parametrize(("largest", "used"), [(1000, 256), (100, 64)])
def test_a_gpu_is_measured_with_large_batches_or_what_fits(
    largest: int, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU is not there: its measurement is replaced by one that runs out of memory."""

    def measure(config, *, batch_size, **options):  # type: ignore[no-untyped-def]
        if batch_size > largest:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        assert options["device"] == "cuda"
        return {"training": [{"contestant": "allmlp", "images_per_second": 1000.0}]}

    monkeypatch.setattr(full_scale, "measure_training", measure)
    monkeypatch.setattr(full_scale, "is_bfloat16_faster", lambda device: True)
    assert measured_rate("B/16", device="cuda").batch_size == used
    table = full_scale_table(load_study("permutations"), device="cuda")
    assert [row[-1] for row in table.rows] == [str(used)]


def test_a_rate_is_measured_without_other_implementations() -> None:
    figures = measure_training(
        replace(variant_config("S/32"), num_blocks=1), batch_size=2, seconds=0.1, num_rounds=1, with_peers=False
    )
    assert [row["contestant"] for row in figures["training"]] == ["allmlp"]
    assert figures["training"][0]["core_hours_per_million_images"] > 0


_HOURS = {"B/16": 2.0, "L/16": 7.0}


def test_the_command_shows_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(full_scale, "measured_rate", lambda variant, *, device: Rate(_HOURS[variant], 8))
    with pytest.raises(SystemExit) as stop:
        main(["study", "avg5", "--scale", "paper"])
    assert stop.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if "--recipe imagenet21k_l16" in line]
    # 300 epochs of 14 million photos at 7 core-hours per million; 410 core-days
    words = ["allmlp train PHOTOS --recipe imagenet21k_l16", "L/16", "4,200", "9,840", "29,400", "8"]
    assert re.split(r"  +", row) == words
    (row,) = [line for line in lines if "--from b16-i21k" in line]
    # 5 trainings of 20,000 + 2 x 10,000 + 2 x 500 steps of 512 photos
    assert re.split(r"  +", row)[1:] == ["B/16", "105", "210", "8"]
