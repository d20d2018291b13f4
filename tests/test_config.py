"""Configurations from JSON and from --set: every value's type is checked, and every mistake is named."""

import json
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allmlp.config import from_dict, override, to_dict
from allmlp.data import Preprocessing
from allmlp.errors import ConfigError
from allmlp.recipes import load_recipe
from allmlp.training import ScheduleConfig


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    name: Literal["adamw", "muon"] = "muon"
    learning_rate: float = 1e-3
    adamw_learning_rate: float | None = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        if (self.adamw_learning_rate is not None) != (self.name == "muon"):
            raise ConfigError("adamw_learning_rate belongs to muon.")


@dataclass(frozen=True, kw_only=True)
class Run:
    name: str
    num_epochs: int
    flip: bool = True
    size: int | tuple[int, int] = 32
    image_size: tuple[int, int] = (32, 32)
    tags: tuple[str, ...] = ()
    max_minutes: float | None = None
    optimizer: Optimizer = field(default_factory=Optimizer)


RUN = Run(name="demo", num_epochs=10)


@pytest.mark.parametrize(
    ("assignment", "key", "value"),
    [
        ("num_epochs=20", "num_epochs", 20),
        ("  num_epochs = 20 ", "num_epochs", 20),
        ("flip=false", "flip", False),
        ("flip=False", "flip", False),
        ("flip=TRUE", "flip", True),
        ("name=other", "name", "other"),
        ('name="other"', "name", "other"),
        ("name=a=b", "name", "a=b"),
        ("name=2024", "name", "2024"),
        ("name=none", "name", "none"),
        ("name=", "name", ""),
        ("size=64", "size", 64),
        ("size=[64, 32]", "size", (64, 32)),
        ("image_size=64", "image_size", (64, 64)),
        ("image_size=[64, 32]", "image_size", (64, 32)),
        ('tags=["a", "b"]', "tags", ("a", "b")),
        ("tags=[]", "tags", ()),
        ("max_minutes=25", "max_minutes", 25.0),
        ("max_minutes=2.5e1", "max_minutes", 25.0),
        ("max_minutes=none", "max_minutes", None),
        ("max_minutes=None", "max_minutes", None),
        ("max_minutes=null", "max_minutes", None),
    ],
)
def test_a_value_takes_the_type_of_its_key(assignment: str, key: str, value: Any) -> None:
    changed = getattr(override(RUN, [assignment]), key)
    assert changed == value
    assert type(changed) is type(value)


def test_every_pair_of_whole_numbers_is_a_size_that_may_be_one_number() -> None:
    changed = override(load_recipe("demo"), ["model.image_size=32"])
    assert changed.model.image_size == (32, 32)
    preprocessing = from_dict(Preprocessing, {"image_size": 32}, where="config.json")
    assert preprocessing == Preprocessing(image_size=32)  # type: ignore[arg-type]


def test_a_dotted_path_reaches_inside_and_the_original_stays() -> None:
    changed = override(RUN, ["optimizer.learning_rate=3e-4", "optimizer.betas=[0.8, 0.9]", "num_epochs=1"])
    assert changed == Run(name="demo", num_epochs=1, optimizer=Optimizer(learning_rate=3e-4, betas=(0.8, 0.9)))
    assert Run(name="demo", num_epochs=10) == RUN
    assert override(RUN, []) == RUN


def test_of_two_values_for_one_key_the_last_counts() -> None:
    assert override(RUN, ["num_epochs=1", "num_epochs=2"]).num_epochs == 2


@pytest.mark.parametrize("swap", [False, True])
def test_keys_that_only_fit_together_change_together(swap: bool) -> None:
    assignments = ["optimizer.name=adamw", "optimizer.adamw_learning_rate=none"]
    optimizer = override(RUN, assignments[::-1] if swap else assignments).optimizer
    assert (optimizer.name, optimizer.adamw_learning_rate) == ("adamw", None)


def test_a_rule_between_keys_names_the_assignments() -> None:
    with pytest.raises(ConfigError, match=r"--set num_epochs, optimizer\.name: adamw_learning_rate belongs to muon"):
        override(RUN, ["num_epochs=3", "optimizer.name=adamw"])


def test_a_rule_names_none_but_the_assignments_that_it_is_about() -> None:
    with pytest.raises(
        ConfigError, match=r"^--set optimizer\.adamw_learning_rate: adamw_learning_rate belongs to muon"
    ):
        override(RUN, ["num_epochs=3", "optimizer.adamw_learning_rate=0.1", "optimizer.name=adamw"])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("num_epochs", r"'num_epochs': expected KEY=VALUE"),
        ("=3", r"'=3': expected KEY=VALUE"),
        ("num_epoch=3", r"num_epoch: unknown key\. Did you mean 'num_epochs'"),
        ("learning_rate=3", r"Did you mean 'optimizer\.learning_rate'"),
        (
            "optimizer.lerning_rate=3",
            r"Did you mean 'optimizer\.learning_rate'.*Keys at this level: .*betas.*--print-recipe",
        ),
        ("optimizer=3", r"this is a group; set one of its keys: optimizer\.name, optimizer\.learning_rate"),
        ("num_epochs.x=3", r"num_epochs is a single value and has no key 'x'"),
        ("num_epochs=2.0", r"num_epochs: expected a whole number, got 2\.0"),
        ("num_epochs=true", r"expected a whole number, got True"),
        ("num_epochs=none", r"expected a whole number, got None"),
        ("num_epochs=many", r"expected a whole number, got 'many'"),
        ("flip=1", r"flip: expected true or false, got 1"),
        ("size=[1, 2, 3]", r"size: expected 2 values"),
        ("image_size=64x32", r"image_size: expected a list, got '64x32'"),
        ("image_size=true", r"image_size: expected a list, got True"),
        ("image_size=64.0", r"image_size: expected a list, got 64\.0"),
        ("image_size=[64]", r"image_size: expected 2 values, got \[64\]"),
        ("tags=a", r"tags: expected a list, got 'a'"),
        ("tags=[1]", r"tags: expected text, got 1"),
        ("max_minutes=soon", r"expected a number, got 'soon'"),
        ("max_minutes=false", r"expected a number, got False"),
        ("optimizer.name=adam", r"'adam' is not one of adamw, muon\. Did you mean 'adamw'"),
        ("optimizer.name=[1]", r"\[1\] is not one of adamw, muon"),
        ("optimizer.betas=0.9", r"betas: expected a list, got 0\.9"),
        ("optimizer.learning_rate=NaN", r"learning_rate: nan is not a finite number"),
        ("optimizer.learning_rate=-Infinity", r"learning_rate: -inf is not a finite number"),
        ("optimizer.learning_rate=1e999", r"inf is not a finite number"),
        (f"optimizer.learning_rate={10**400}", r"is not a finite number"),
        (f"optimizer.learning_rate={'9' * 5000}", r"expected a number"),
        (f"tags={'[' * 100_000}", r"expected a list"),
    ],
)
def test_a_mistake_is_named_with_what_was_expected(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        override(RUN, [assignment])
    assert len(str(caught.value)) < 500
    assert caught.value.exit_code == 2


def test_all_mistaken_assignments_are_listed() -> None:
    with pytest.raises(ConfigError, match=r"(?s)num_epoch:.*flip: expected.*'x': expected KEY=VALUE"):
        override(RUN, ["num_epoch=1", "flip=3", "x", "name=fine"])


def test_json_takes_a_configuration_there_and_back() -> None:
    run = Run(
        name="тапки",
        num_epochs=3,
        size=(64, 32),
        tags=("a", "b"),
        max_minutes=2.0,
        optimizer=Optimizer(name="adamw", adamw_learning_rate=None),
    )
    assert from_dict(Run, json.loads(json.dumps(to_dict(run))), where="recipe.json") == run


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        Run,
        name=st.text(),
        num_epochs=st.integers(),
        flip=st.booleans(),
        size=st.integers() | st.tuples(st.integers(), st.integers()),
        tags=st.lists(st.text()).map(tuple),
        max_minutes=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        optimizer=st.builds(Optimizer, learning_rate=st.floats(allow_nan=False, allow_infinity=False)),
    )
)
def test_any_configuration_survives_json(run: Run) -> None:
    assert from_dict(Run, json.loads(json.dumps(to_dict(run))), where="recipe.json") == run


def test_tuples_of_tuples_are_what_json_gives_back() -> None:
    values = to_dict(ScheduleConfig(revisions=((2, 9),), fold_revisions=(((1, 5),), ())))
    assert values == json.loads(json.dumps(values))
    assert (values["revisions"], values["fold_revisions"]) == ([[2, 9]], [[[1, 5]], []])


def test_unknown_and_missing_keys_are_all_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(Run, {"nam": "x", "epochs": 3, "zebra": 1}, where="recipe.json")
    message = str(caught.value)
    assert message.startswith("recipe.json: ")
    for words in ("'nam'. Did you mean 'name'", "'epochs'. Did you mean 'num_epochs'", "'zebra'"):
        assert words in message
    assert "'name' is missing" in message
    assert "'num_epochs' is missing" in message


def test_a_nested_mistake_carries_its_path() -> None:
    values = {"name": "x", "num_epochs": 1, "optimizer": {"lr": 1}}
    with pytest.raises(ConfigError, match=r"recipe\.json: optimizer: unknown key 'lr'"):
        from_dict(Run, values, where="recipe.json")
    with pytest.raises(ConfigError, match=r"recipe\.json: optimizer: learning_rate: expected a number, got 'fast'"):
        from_dict(Run, {**values, "optimizer": {"learning_rate": "fast"}}, where="recipe.json")
    with pytest.raises(ConfigError, match=r"recipe\.json: optimizer: adamw_learning_rate belongs to muon"):
        from_dict(Run, {**values, "optimizer": {"name": "adamw"}}, where="recipe.json")
    with pytest.raises(ConfigError, match=r"recipe\.json: optimizer: expected a JSON object \(Optimizer\), got 3"):
        from_dict(Run, {**values, "optimizer": 3}, where="recipe.json")


def test_a_flood_of_unknown_keys_is_counted_not_listed() -> None:
    with pytest.raises(ConfigError, match="and 99,950 more unknown keys") as caught:
        from_dict(Run, {f"num_epoch{index}": 1 for index in range(100_000)}, where="recipe.json")
    assert len(str(caught.value)) < 10_000


def test_a_key_of_a_million_letters_costs_nothing() -> None:
    start = time.process_time()
    with pytest.raises(ConfigError, match="unknown key 'num_epochs") as caught:
        from_dict(Run, {"num_epochs" * 1_000_000: 1}, where="recipe.json")
    assert time.process_time() - start < 0.5
    assert len(str(caught.value)) < 500
