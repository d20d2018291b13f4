"""The Dockerfile's entry point and health check, run as processes: they agree on the port. The image is not built."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.serve.running import started

TEXT = (Path(__file__).parents[2] / "Dockerfile").read_text(encoding="utf-8")


def words_of(instruction: str) -> list[str]:
    """Return the words of an instruction in its exec form."""
    (found,) = re.findall(rf"^{instruction}[^\[]*(\[.*\])$", TEXT, re.MULTILINE)
    words: list[str] = json.loads(found)
    return words


@pytest.mark.skipif(sys.platform == "win32", reason="the image's shell is that of Linux")
def test_the_server_and_the_health_check_take_the_port_of_the_environment(sources: dict[str, Path]):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    # The image has these programs on its path.
    environment = {**os.environ, "PORT": str(port), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def is_healthy() -> bool:
        check = words_of("HEALTHCHECK")
        return subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 0

    command = [*words_of("ENTRYPOINT"), str(sources["onnx"]), "--max-queue", "64"]
    with started(command, env=environment) as server:
        assert server.port == port
        assert is_healthy()
        assert server.stop() == 0  # the signal reaches allmlp
    assert not is_healthy()


def test_the_default_of_the_port_is_the_one_that_is_exposed():
    assert re.search(r"^ENV .*\bPORT=8000$", TEXT, re.MULTILINE)
    assert re.search(r"^EXPOSE 8000$", TEXT, re.MULTILINE)
    assert words_of("CMD") == ["/model.onnx"]
