"""Shares put together are the whole, whatever their number."""

import threading

import numpy as np
import pytest

from allmlp import evaluate, open_dataset
from allmlp.evaluation import SINGLE_PROCESS, Shares


@pytest.mark.parametrize("count", [1, 2, 5, 13])
def test_rows_are_those_of_all_photos_in_order(count, photos):
    split = open_dataset(photos).splits["test"]
    seen: list[tuple[str, ...]] = []

    def compute(part):
        seen.append(part.sample_ids)
        return np.array([[split.sample_ids.index(name)] for name in part.sample_ids], np.float32).reshape(-1, 1)

    # Threads stand for processes: each waits at the gathering for all.
    parts: list[np.ndarray] = [np.empty(0)] * count
    barrier, found = threading.Barrier(count), [np.empty(0)] * count

    def work(rank):
        def gather(rows):
            parts[rank] = rows
            barrier.wait(timeout=30)
            return np.concatenate(parts)

        found[rank] = Shares(rank, count, gather).rows(split, compute)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for names in seen for name in names) == sorted(split.sample_ids)
    for rows in found:
        np.testing.assert_array_equal(rows[:, 0], np.arange(12))


def test_logits_that_were_gathered_give_the_same_numbers(run, photos):
    expected = evaluate(run, photos, device="cpu")
    assert evaluate(run, photos, device="cpu", shares=SINGLE_PROCESS).to_dict() == expected.to_dict()
    # The first of a single process, which takes the way of many.
    found = evaluate(run, photos, device="cpu", shares=Shares(0, 2, lambda rows: np.concatenate([rows, rows])))
    assert found.num_examples == expected.num_examples
    np.testing.assert_array_equal(found.predictions[:6], expected.predictions[:6])
    np.testing.assert_array_equal(found.confidences[:6], expected.confidences[:6])
