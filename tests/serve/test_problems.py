"""The error of a request none of whose photos was answered, and 503s, which say when to try again."""

import pytest

from allmlp.serve.problems import Problem, problem_of_all, try_again

FORMAT, LARGE = Problem(415, "unsupported_photo", "A text."), Problem(413, "photo_too_large", "Too large.")
CUT, FAILED = Problem(422, "bad_photo", "Cut."), Problem(500, "model_failed", "It failed.")
SHORT = try_again("no_memory", "No memory.")


@pytest.mark.parametrize(
    ("problems", "status", "code", "shown"),
    [
        ([FORMAT], 415, "unsupported_photo", "A text."),
        ([SHORT], 503, "no_memory", "No memory."),
        ([FORMAT, FORMAT], 415, "unsupported_photo", "One of them: A text."),
        ([LARGE, LARGE], 413, "photo_too_large", "One of them: Too large."),
        ([CUT, CUT], 422, "bad_photos", "One of them: Cut."),
        ([FORMAT, LARGE], 422, "bad_photos", "One of them: A text."),
        ([LARGE, CUT, FORMAT], 422, "bad_photos", "One of them: Cut."),
        ([FAILED, FAILED], 500, "model_failed", "One of them: It failed."),
        ([CUT, FAILED, FORMAT], 500, "model_failed", "One of them: It failed."),
        ([CUT, FAILED, SHORT], 503, "no_memory", "One of them: No memory."),
    ],
)
def test_the_status_is_that_of_all_or_else_the_servers_or_else_422(
    problems: list[Problem], status: int, code: str, shown: str
):
    problem = problem_of_all(problems)
    assert (problem.status, problem.code) == (status, code)
    assert problem.message.endswith(shown)
    assert (problem.headers.get("Retry-After") == "1") == (status == 503)
