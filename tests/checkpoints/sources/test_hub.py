"""The hub's repositories by the real code and the real huggingface_hub against a local hub.

huggingface_hub reads its settings when it is imported. So a process of its own, with HF_ENDPOINT pointing at the local
hub, carries out what the tests ask for.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.servers.files import Faults
from tests.servers.hub import TOKEN, HubServer, git_oid

CONFIG = b'{"architecture": "mixer_b16_224"}'
WEIGHTS = bytes(range(256)) * 4000  # what is in them is the readers' business
FILES = {"config.json": CONFIG, "model.safetensors": WEIGHTS}

WORKER = """
import json, os, sys
from pathlib import Path
from allmlp.checkpoints.sources.catalog import CATALOG
from allmlp.checkpoints.sources.published import fetch_hub, fetch_published, is_cached, known_digest
from allmlp.errors import AllmlpError
for line in sys.stdin:
    environment, function, arguments = json.loads(line)
    for name, value in environment.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    try:
        answer = [True, str(eval(function, globals(), arguments))]
    except AllmlpError as error:
        answer = [False, f"{type(error).__name__}: {error}"]
    print(json.dumps(answer), flush=True)
"""
FETCH = "fetch_hub(repository, revision=revision)"


@dataclass
class Hub:
    """The local hub, and a process that talks to it."""

    server: HubServer
    home: Path
    process: "subprocess.Popen[str]"

    def ask(
        self, function: str, environment: dict[str, str | None] | None = None, **arguments: Any
    ) -> tuple[bool, str]:
        assert self.process.stdin is not None and self.process.stdout is not None
        defaults: dict[str, str | None] = {"ALLMLP_OFFLINE": None, "HF_TOKEN": None}
        print(json.dumps([defaults | (environment or {}), function, arguments]), file=self.process.stdin, flush=True)
        good, answer = json.loads(self.process.stdout.readline())
        return good, answer

    def fetch(
        self, repository: str, revision: str | None = None, environment: dict[str, str | None] | None = None
    ) -> Path:
        good, answer = self.ask(FETCH, environment, repository=repository, revision=revision)
        assert good, answer
        return Path(answer)

    def refusal(
        self, repository: str, revision: str | None = None, environment: dict[str, str | None] | None = None
    ) -> str:
        good, answer = self.ask(FETCH, environment, repository=repository, revision=revision)
        assert not good, answer
        assert answer.startswith(f"CheckpointError: hf:{repository}")
        assert TOKEN not in answer
        assert "secret-signature" not in answer
        return answer


def start_worker(server_url: str, home: Path, **environment: str) -> "subprocess.Popen[str]":
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "ALLMLP_", "HUGGING"))}
    settings = {
        "HF_ENDPOINT": server_url,
        "HF_HOME": str(home / "hf"),
        "ALLMLP_HOME": str(home / "allmlp"),
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
    }
    with (home / "stderr").open("a") as errors:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=kept | settings | environment,
        )


@pytest.fixture(scope="module")
def shared_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    home = tmp_path_factory.mktemp("hub")
    with HubServer() as server, start_worker(server.url, home) as process:
        yield Hub(server, home, process)
        assert process.stdin is not None
        process.stdin.close()
    # Neither progress nor a warning where there is no terminal; of retries huggingface_hub itself speaks.
    spoken = ("Error while downloading", "Trying to resume", "Max retries exceeded")
    lines = (home / "stderr").read_text().splitlines()
    assert not [line for line in lines if not line.startswith(spoken)]


@pytest.fixture
def hub(shared_hub: Hub) -> Iterator[Hub]:
    shared_hub.server.requests.clear()
    yield shared_hub
    shared_hub.server.faults = Faults()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository of the test's own, so that the cache holds nothing of it."""
    return f"owner/{hashlib.sha1(request.node.name.encode()).hexdigest()}"


def blobs(hub: Hub, name: str) -> list[bytes]:
    return [path.read_bytes() for path in (hub.home / "hf").rglob(f"models--{name.replace('/', '--')}/blobs/*")]


def test_a_repository_arrives_with_its_configuration_once(hub: Hub, name: str) -> None:
    commit = hub.server.add(name, FILES | {"README.md": b"# A Mixer", "pytorch_model.bin": b"not asked for"})
    folder = hub.fetch(name)
    assert folder.name == commit
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert hub.fetch(name) == folder
    assert len(hub.server.asked("GET", "/storage/")) == 1


def test_a_revision_is_a_branch_or_a_commit(hub: Hub, name: str) -> None:
    first = hub.server.add(name, FILES)
    changed = FILES | {"model.safetensors": WEIGHTS[::-1]}
    hub.server.repositories[name].commit(changed, "new")
    assert (hub.fetch(name, "new") / "model.safetensors").read_bytes() == WEIGHTS[::-1]
    assert (hub.fetch(name, first) / "model.safetensors").read_bytes() == WEIGHTS
    assert (hub.fetch(name) / "model.safetensors").read_bytes() == WEIGHTS


def test_weights_in_torchs_format_are_taken_where_there_are_no_others(hub: Hub, name: str) -> None:
    hub.server.add(name, {"config.json": CONFIG, "pytorch_model.bin": WEIGHTS})
    assert sorted(path.name for path in hub.fetch(name).iterdir()) == ["config.json", "pytorch_model.bin"]
    assert hub.fetch(name, environment={"ALLMLP_OFFLINE": "1"}).is_dir()


def test_a_repository_without_weights_is_refused_with_what_it_holds(hub: Hub, name: str) -> None:
    hub.server.add(
        name, {"config.json": CONFIG, "model.safetensors.index.json": b"{}", "model-00001.safetensors": b"x"}
    )
    assert (
        "neither model.safetensors nor pytorch_model.bin. Its files are: config.json, model.safetensors.index.json, model-00001"
        in (hub.refusal(name))
    )
    hub.server.add(f"{name}2", {"README.md": b"nothing"})
    assert "holds no config.json" in hub.refusal(f"{name}2")


def test_after_a_cut_only_the_missing_bytes_are_asked_for(hub: Hub, name: str) -> None:
    hub.server.add(name, FILES)
    hub.server.faults = Faults(cut_after=1000, num_cuts=1)
    assert (hub.fetch(name) / "model.safetensors").read_bytes() == WEIGHTS
    first, second = hub.server.asked("GET", "/storage/")
    assert "range" not in first.headers
    assert second.headers["range"] == "bytes=1000-"
    assert sorted(blobs(hub, name)) == sorted(FILES.values())


def test_content_that_is_not_what_the_hub_promised_is_refused_and_poisons_nothing(hub: Hub, name: str) -> None:
    hub.server.add(name, FILES)
    hub.server.faults = Faults(wrong_bytes=True)
    assert f"the Hub promises {git_oid(CONFIG)}" in hub.refusal(name)
    assert blobs(hub, name) == []
    hub.server.faults = Faults(wrong_bytes=True, where="/storage/")
    assert f"the Hub promises {hashlib.sha256(WEIGHTS).hexdigest()}" in hub.refusal(name)
    assert blobs(hub, name) == [CONFIG]
    hub.server.faults = Faults()
    assert (hub.fetch(name) / "model.safetensors").read_bytes() == WEIGHTS


def test_a_file_in_the_hubs_cache_that_was_damaged_is_not_used(hub: Hub, name: str) -> None:
    hub.server.add(name, FILES)
    weights = hub.fetch(name) / "model.safetensors"
    weights.write_bytes(WEIGHTS[:1000])
    assert "has been removed from the cache" in hub.refusal(name)
    assert (hub.fetch(name) / "model.safetensors").read_bytes() == WEIGHTS


def test_where_links_are_not_to_be_had_the_record_tells(hub: Hub, name: str) -> None:
    hub.server.add(name, FILES)
    weights = hub.fetch(name) / "model.safetensors"
    weights.unlink()
    weights.write_bytes(WEIGHTS)
    assert hub.fetch(name) == weights.parent
    weights.write_bytes(WEIGHTS[::-1])
    assert f"an earlier download had {hashlib.sha256(WEIGHTS).hexdigest()}" in hub.refusal(name)


def test_a_cache_that_cannot_be_written_is_one_clear_error(hub: Hub, name: str) -> None:
    hub.server.add(name, FILES)
    blocked = hub.home / "hf" / "hub" / f"models--{name.replace('/', '--')}"
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_bytes(b"a file")
    message = hub.refusal(name)
    assert (
        f"{blocked}: cannot be read or written (" in message
        or f"{blocked}/blobs: cannot be read or written (" in message
    )
    assert "HF_HOME names the folder" in message


def test_a_download_that_fails_leaves_no_half_file(hub: Hub, name: str) -> None:
    hub.server.add(name, FILES)
    hub.server.faults = Faults(cut_after=0, num_cuts=1000)
    assert "the connection was cut" in hub.refusal(name)
    assert blobs(hub, name) == []
    hub.server.faults = Faults()
    assert (hub.fetch(name) / "model.safetensors").read_bytes() == WEIGHTS


def test_offline_the_cache_serves(hub: Hub, name: str) -> None:
    hub.server.add(name, FILES)
    folder = hub.fetch(name)
    hub.server.requests.clear()
    assert hub.fetch(name, environment={"ALLMLP_OFFLINE": "1"}) == folder
    assert hub.server.requests == []


def test_offline_what_is_not_cached_is_an_error_that_names_the_way_out(hub: Hub, name: str) -> None:
    message = hub.refusal(name, environment={"ALLMLP_OFFLINE": "1"})
    assert "HF_HUB_OFFLINE or ALLMLP_OFFLINE forbids" in message
    assert "HF_HOME" in message
    assert hub.server.requests == []


def test_the_hubs_own_offline_switch_is_honoured(hub: Hub, name: str) -> None:
    hub.server.add(name, FILES)
    folder = hub.fetch(name)
    hub.server.requests.clear()
    with start_worker(hub.server.url, hub.home, HF_HUB_OFFLINE="1") as process:
        offline = Hub(hub.server, hub.home, process)
        assert offline.fetch(name) == folder
        assert "forbids downloads" in offline.refusal("owner/never-seen")
        assert process.stdin is not None
        process.stdin.close()
    assert hub.server.requests == []


def test_a_hub_in_trouble_does_not_matter_when_the_cache_has_it(hub: Hub, name: str) -> None:
    hub.server.add(name, FILES)
    folder = hub.fetch(name)
    hub.server.faults = Faults(status=500)
    assert hub.fetch(name) == folder


def test_a_repository_that_is_not_there_is_told(hub: Hub, name: str) -> None:
    message = hub.refusal(name)
    assert "no such repository, or it is private" in message
    assert "hf auth login" in message


def test_a_private_repository_opens_with_the_token_only(hub: Hub, name: str) -> None:
    hub.server.add(name, FILES, private=True)
    assert "it is private" in hub.refusal(name)
    assert "it is private" in hub.refusal(name, environment={"HF_TOKEN": "hf_another"})
    assert (hub.fetch(name, environment={"HF_TOKEN": TOKEN}) / "model.safetensors").read_bytes() == WEIGHTS
    assert all("authorization" not in request.headers for request in hub.server.asked("GET", "/storage/"))


def test_a_revision_that_is_gone_is_told(hub: Hub, name: str) -> None:
    hub.server.add(name, FILES)
    for revision in ("gone", "0" * 40):
        assert f"no revision {revision!r}" in hub.refusal(name, revision)
    assert blobs(hub, name) == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_names_the_way_to_log_in(hub: Hub, name: str, status: int) -> None:
    hub.server.faults = Faults(status=status)
    message = hub.refusal(name, environment={"HF_TOKEN": TOKEN})
    assert "hf auth login" in message


@pytest.mark.parametrize("wrong", ["a/b/c", "owner/ name", "../../etc", "", "owner/name?x"])
def test_what_is_no_name_of_a_repository_is_refused(hub: Hub, wrong: str) -> None:
    assert "not a repository name" in hub.refusal(wrong)
    assert hub.server.requests == []


def test_the_catalogues_repositories_come_by_name_and_are_known_by_content(hub: Hub, tmp_path: Path) -> None:
    commit = hub.server.add("timm/mixer_b16_224.miil_in21k", FILES)
    published = "fetch_published(CATALOG['b16-miil-i21k'])"
    assert hub.ask("is_cached(CATALOG['b16-miil-i21k'])") == (True, "False")
    (tmp_path / "copy").write_bytes(WEIGHTS)
    hub.fetch("timm/mixer_b16_224.miil_in21k", commit)  # any revision, which the catalogue says nothing of
    assert hub.ask("known_digest(Path(path))", path=str(tmp_path / "copy")) == (True, "None")
    good, folder = hub.ask(published)
    assert good
    assert (Path(folder) / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.ask("is_cached(CATALOG['b16-miil-i21k'])") == (True, "True")
    assert hub.ask("known_digest(Path(path)).name", path=str(tmp_path / "copy")) == (True, "b16-miil-i21k")


def test_two_processes_at_once_end_with_one_good_file(hub: Hub, name: str) -> None:
    hub.server.add(name, FILES)
    with start_worker(hub.server.url, hub.home) as other:
        for process in (hub.process, other):
            assert process.stdin is not None
            print(json.dumps([{}, FETCH, {"repository": name, "revision": None}]), file=process.stdin, flush=True)
        answers = [json.loads(process.stdout.readline()) for process in (hub.process, other) if process.stdout]
        assert other.stdin is not None
        other.stdin.close()
    assert answers[0] == answers[1]
    assert answers[0][0]
    assert (Path(answers[0][1]) / "model.safetensors").read_bytes() == WEIGHTS
    assert sorted(blobs(hub, name)) == sorted(FILES.values())


def test_without_a_network_one_message_comes_at_once(name: str, tmp_path: Path) -> None:
    with HubServer() as server:
        pass
    message = ask_once(server, tmp_path, name)
    assert f"could not be reached at {server.url}: " in message
    for words in ("HTTPS_PROXY", "HF_ENDPOINT", "give its path", "HF_HUB_OFFLINE"):
        assert words in message
    assert (tmp_path / "stderr").read_text() == ""  # huggingface_hub speaks of each of its retries


def test_a_hub_in_trouble_or_out_of_reach_is_told(name: str, tmp_path: Path) -> None:
    with HubServer(faults=Faults(status=500)) as server:
        assert f"answered 500 to /{name}/resolve/main/" in ask_once(server, tmp_path, name)
        nowhere = server.url
    message = ask_once(server, tmp_path, name)
    assert f"could not be reached at {nowhere}: " in message
    assert "HTTPS_PROXY" in message


def ask_once(server: HubServer, home: Path, name: str) -> str:
    with start_worker(server.url, home) as process:
        message = Hub(server, home, process).refusal(name)
        assert process.stdin is not None
        process.stdin.close()
    return message
