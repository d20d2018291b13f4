"""The OpenAPI document: requests that follow it, or nearly, never make the server fail."""

from pathlib import Path

import hypothesis
import pytest
from tests.serve.conftest import LIMITS
from tests.serve.running import running

schemathesis = pytest.importorskip("schemathesis")


def test_requests_from_the_document_never_make_the_server_fail(sources: dict[str, Path]):
    with running(sources["onnx"], options={**LIMITS, "max_photos": 4}) as server:
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        found = [result.ok() for result in schema.get_all_operations()]
        assert {operation.path for operation in found} >= {
            "/predict",
            "/embed",
            "/info",
            "/livez",
            "/readyz",
            "/metrics",
        }
        statuses: set[int] = set()
        for operation in found:

            @hypothesis.settings(
                max_examples=25, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
            )
            @hypothesis.given(case=operation.as_strategy())
            def ask(case):
                response = case.call()
                statuses.add(response.status_code)
                assert response.status_code < 500, response.text
                case.validate_response(
                    response,
                    checks=[
                        schemathesis.checks.not_a_server_error,
                        schemathesis.specs.openapi.checks.status_code_conformance,
                        schemathesis.specs.openapi.checks.response_schema_conformance,
                    ],
                )

            ask()
        assert {200, 400, 415} <= statuses
        assert not [line for line in server.written() if line.strip()]
