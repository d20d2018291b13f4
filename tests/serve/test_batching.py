"""The batcher: bounded, in the order of arrival, and with errors that stay with their photo."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from allmlp.serve.batching import Batcher
from allmlp.serve.instruments import Instruments
from allmlp.serve.problems import Problem


class Model:
    """Doubles numbers once it is let go; "poison" makes it fail."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.go = threading.Event()
        self.has_begun = threading.Event()

    def __call__(self, photos: Sequence[Any]) -> list[Any]:
        self.batches.append(list(photos))
        self.has_begun.set()
        assert self.go.wait(30)
        if "poison" in photos:
            raise ValueError("poison")
        return [2 * photo for photo in photos]


def run(test: Callable[[Batcher, Model], Any], **options: Any) -> Model:
    values = {"max_batch": 4, "max_wait_s": 0.0, "max_queue": 8, **options}
    model = Model()

    async def main() -> None:
        batcher = Batcher(**values, instruments=Instruments())
        batcher.start()
        try:
            await test(batcher, model)
        finally:
            model.go.set()
            batcher.stop()
        assert not batcher.is_alive

    asyncio.run(asyncio.wait_for(main(), 60))
    return model


async def begun(model: Model) -> None:
    await asyncio.to_thread(model.has_begun.wait, 30)


def test_what_arrives_during_a_batch_is_the_next_one():
    async def test(batcher: Batcher, model: Model) -> None:
        first = batcher.submit(0, model)
        await begun(model)
        rest = [batcher.submit(number, model) for number in range(1, 7)]
        model.go.set()
        assert await asyncio.gather(first, *rest) == [0, 2, 4, 6, 8, 10, 12]

    assert run(test).batches == [[0], [1, 2, 3, 4], [5, 6]]


def test_a_photo_that_makes_the_model_fail_fails_alone():
    async def test(batcher: Batcher, model: Model) -> None:
        first = batcher.submit(0, model)
        await begun(model)
        rest = [batcher.submit(photo, model) for photo in (1, "poison", 3)]
        model.go.set()
        answers = await asyncio.gather(first, *rest, return_exceptions=True)
        assert [answers[index] for index in (0, 1, 3)] == [0, 2, 6]
        assert isinstance(answers[2], ValueError)
        assert await batcher.submit(4, model) == 8  # and the thread lives

    assert run(test).batches[:5] == [[0], [1, "poison", 3], [1], ["poison"], [3]]


def test_what_nobody_waits_for_is_not_computed():
    async def test(batcher: Batcher, model: Model) -> None:
        first = batcher.submit(0, model)
        await begun(model)
        rest = [batcher.submit(number, model) for number in range(1, 5)]
        rest[0].cancel()
        rest[2].cancel()
        model.go.set()
        assert await asyncio.gather(first, rest[1], rest[3]) == [0, 4, 8]

    assert run(test).batches == [[0], [2, 4]]


def test_a_batch_has_one_function_and_keeps_the_order():
    async def test(batcher: Batcher, model: Model) -> None:
        def other(photos: Sequence[Any]) -> list[Any]:
            model.batches.append(["other", *photos])
            return [-photo for photo in photos]

        first = batcher.submit(0, model)
        await begun(model)
        rest = [batcher.submit(number, model if number % 2 else other) for number in range(1, 5)]
        model.go.set()
        assert await asyncio.gather(first, *rest) == [0, 2, -2, 6, -4]

    assert run(test).batches == [[0], [1, 3], ["other", 2, 4]]


def test_slow_jobs_are_computed_one_at_a_time_and_take_turns_with_batches():
    async def test(batcher: Batcher, model: Model) -> None:
        def slow(photos: Sequence[Any]) -> list[Any]:
            model.batches.append(["slow", *photos])
            return [-photo for photo in photos]

        first = batcher.submit(0, model)
        await begun(model)
        explained = [batcher.submit(number, slow, is_slow=True) for number in (1, 2, 3, 4)]
        rest = [batcher.submit(number, model) for number in range(5, 11)]
        model.go.set()
        assert await asyncio.gather(first, *explained, *rest) == [0, -1, -2, -3, -4, 10, 12, 14, 16, 18, 20]

    assert run(test).batches == [[0], ["slow", 1], [5, 6, 7, 8], ["slow", 2], [9, 10], ["slow", 3], ["slow", 4]]


def test_a_batch_waits_for_photos_that_are_decoded():
    async def test(batcher: Batcher, model: Model) -> None:
        model.go.set()
        with batcher.coming():
            first = batcher.submit(1, model)
            second = batcher.submit(2, model)
        assert await asyncio.gather(first, second) == [2, 4]

    assert run(test, max_wait_s=30.0).batches == [[1, 2]]


def test_a_full_queue_refuses_at_once():
    async def test(batcher: Batcher, model: Model) -> None:
        model.go.set()
        with batcher.room(6):
            with pytest.raises(Problem) as refusal, batcher.room(3):
                pass
            assert (refusal.value.status, refusal.value.headers) == (503, {"Retry-After": "1"})
            with batcher.room(2), pytest.raises(Problem):
                batcher.check_room()
            batcher.check_room()
        with batcher.room(8):
            pass

    run(test)
