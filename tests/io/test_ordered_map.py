"""Threads next to the one that reads: nothing is lost, nothing stays."""

import threading
import time
import weakref

import pytest

from allmlp.io.ordered_map import drop_locals, ordered_map, prefetch


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


@pytest.fixture
def allow_threads(monkeypatch):
    """Let the system allow only so many further threads of this process."""

    def allow(number):
        start, left = threading.Thread.start, [number]

        def limited(thread):
            if not left[0]:
                raise RuntimeError("can't start new thread")
            left[0] -= 1
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", limited)

    return allow


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_with_fewer_threads_than_asked_for_nothing_is_lost(allowed, allow_threads):
    allow_threads(allowed)
    used = set()

    def double(number):
        used.add(threading.current_thread())
        time.sleep(0.001)
        return 2 * number

    assert list(ordered_map(double, range(300), 8)) == list(range(0, 600, 2))
    assert len(used) == max(1, allowed)
    assert (threading.current_thread() in used) == (allowed == 0)


def test_without_a_thread_the_caller_makes_the_next_one(allow_threads):
    allow_threads(0)
    log = []
    ahead = prefetch(counting(log))
    assert [next(ahead), next(ahead)] == [0, 1]
    ahead.close()
    assert log == [*((number, threading.current_thread().name) for number in (0, 1)), ("closed", log[-1][1])]


@pytest.mark.parametrize("num_workers", [0, 3])
def test_another_error_of_a_function_is_not_taken_for_a_lack_of_threads(num_workers):
    def fail(number):
        raise RuntimeError(f"bug {number}")

    with pytest.raises(RuntimeError, match="bug 0"):
        list(ordered_map(fail, range(9), num_workers))


class Photo:
    pass


@pytest.mark.parametrize("chain", ["cause", "context", "none"])
def test_an_error_that_waits_for_its_turn_holds_no_photo(chain):
    held, all_failed = [], threading.Event()

    def decode(photo):
        held.append(weakref.ref(photo))
        raise OSError("cut")

    def fail(number):
        if number == 0:
            assert all_failed.wait(timeout=60)
            return
        try:
            decode(Photo())
        except OSError as error:
            if chain == "none":
                raise
            raise ValueError(number) from (error if chain == "cause" else None)
        finally:
            if number == 39:
                all_failed.set()

    results = ordered_map(fail, range(40), 2)
    next(results)  # all others wait
    assert len(held) == 39
    assert not any(reference() for reference in held[:-1])  # the last may be on its way
    with pytest.raises((OSError, ValueError)):
        next(results)
    try:
        fail(1)
    except (OSError, ValueError) as error:
        drop_locals(error)
        assert held[-1]() is None
