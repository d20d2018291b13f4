"""Threads beside the one that reads: nothing is lost, nothing stays."""

import threading

import pytest

from allmlp.io.ordered_map import prefetch


def names():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("allmlp-ahead")]


def counting(log, *, end=5, error=None):
    try:
        for number in range(end):
            log.append((number, threading.current_thread().name))
            yield number
        if error is not None:
            raise error
    finally:
        log.append(("closed", threading.current_thread().name))


@pytest.mark.parametrize("end", [0, 1, 5])
def test_all_items_come_in_order_from_one_thread_that_ends(end):
    log = []
    assert list(prefetch(counting(log, end=end))) == list(range(end))
    assert [what for what, _ in log] == [*range(end), "closed"]
    assert len({thread for _, thread in log} | {threading.current_thread().name}) == 2
    assert not names()


def test_the_next_item_is_made_while_the_last_is_used():
    made = threading.Event()

    def items():
        yield 0
        made.set()
        yield 1

    ahead = prefetch(items())
    assert next(ahead) == 0
    assert made.wait(timeout=60)
    assert list(ahead) == [1]


def test_no_more_than_one_is_made_ahead():
    log = []
    ahead = prefetch(counting(log))
    assert [next(ahead), next(ahead)] == [0, 1]
    ahead.close()
    assert [what for what, _ in log] == [0, 1, 2, "closed"]
    assert not names()


def test_closed_while_one_is_in_the_making_it_waits_and_closes():
    begun, go_on, log = threading.Event(), threading.Event(), []

    def items():
        try:
            yield 0
            begun.set()
            assert go_on.wait(timeout=60)
            yield 1
        finally:
            log.append("closed")

    ahead = prefetch(items())
    next(ahead)
    assert begun.wait(timeout=60)
    closing = threading.Thread(target=ahead.close)
    closing.start()
    go_on.set()
    closing.join(timeout=60)
    assert log == ["closed"]
    assert not names()


def test_an_error_is_raised_where_items_are_read_after_those_before_it():
    log, read = [], []
    with pytest.raises(OSError, match="the disk is gone"):
        read.extend(prefetch(counting(log, error=OSError("the disk is gone"))))
    assert read == list(range(5))
    assert not names()


def test_never_begun_it_starts_no_thread():
    ahead = prefetch(counting([]))
    ahead.close()
    assert not names()


def test_the_thread_that_submits_to_a_pool_may_close_it():
    """As the garbage collector does, which runs anywhere: here while the lock of all pools is held."""
    from concurrent.futures import thread

    log = []
    ahead = prefetch(counting(log))
    next(ahead)
    while len(log) < 2:  # the one in the making
        pass
    with thread._global_shutdown_lock:
        closing = threading.Thread(target=ahead.close, daemon=True)
        closing.start()
        closing.join(timeout=20)
        assert not closing.is_alive()
    assert log[-1][0] == "closed"
