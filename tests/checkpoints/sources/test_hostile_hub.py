"""A hostile hub, and a tampered cache of the Hub: nothing is written outside, and every answer is checked.

`HF_ENDPOINT`, `HF_HOME` and the token are settings of huggingface_hub, which reads them when it is imported; here they are set
in its constants.
"""

import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from huggingface_hub import constants
from tests.servers.hostile import HostileServer, RawRequest, Sent, answer, endless, snapshot
from tests.servers.hub import TOKEN, git_oid
from tests.servers.mirror import new_home

from allmlp import CheckpointError
from allmlp.checkpoints.sources.hub import cached_weights, fetch_hub
from allmlp.io.http_client import Patience

CONFIG = b'{"architecture": "mixer_b16_224"}'
WEIGHTS = bytes(range(256)) * 40
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
COMMIT = "0123456789" * 4
NAME = "owner/name"
FOLDER = "models--owner--name"
IMPATIENT = Patience(pause_s=0.1, block_s=0.15, retry_s=0)


@dataclass
class Hub:
    """A hub with one repository. `lies` change the headers of the answers about a file, by its name."""

    server: HostileServer = field(init=False)
    lies: dict[str, dict[str, str]] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, Sent] = field(default_factory=dict)

    def reply(self, request: RawRequest) -> Sent:
        name = request.path.rpartition("/")[2].partition("?")[0]
        if name not in ("config.json", "model.safetensors"):
            return [answer("404 Not Found", X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)]
        content = CONFIG if name == "config.json" else WEIGHTS
        digest = git_oid(CONFIG) if name == "config.json" else SHA256
        if request.method == "GET" and name in self.bodies:
            return self.bodies[name]
        headers = {"X_Repo_Commit": COMMIT, "ETag": f'"{digest}"', "Content_Length": str(len(content))}
        headers |= self.lies.get(name, {})
        return [answer(self.status.get(name, "200 OK"), b"" if request.method == "HEAD" else content, **headers)]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    new_home(tmp_path, monkeypatch)
    folder = tmp_path / "hf" / "hub"
    folder.mkdir(parents=True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    lying = Hub()
    with HostileServer(lying.reply) as lying.server:
        monkeypatch.setattr(constants, "ENDPOINT", lying.server.url)
        yield lying


def outside(folder: Path) -> dict[str, str]:
    """Return what is below a folder but outside the two caches."""
    return {path: state for path, state in snapshot(folder).items() if not path.startswith(("hf/hub/", "home"))}


def refusal(tmp_path: Path, revision: str | None = None) -> str:
    """Return the error of a download that writes nothing outside the caches and gives no name to any content."""
    before = outside(tmp_path)
    started = time.monotonic()
    with pytest.raises(CheckpointError) as caught:
        fetch_hub(NAME, revision=revision, patience=IMPATIENT)
    assert time.monotonic() - started < 5
    assert outside(tmp_path) == before
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 1000
    return message


def test_files_of_an_honest_hub_are_read(hub: Hub, cache: Path) -> None:
    folder = fetch_hub(NAME, patience=IMPATIENT)
    assert folder == cache / FOLDER / "snapshots" / COMMIT
    assert (folder / "config.json").readlink() == Path("..", "..", "blobs", git_oid(CONFIG))
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (cache / FOLDER / "refs" / "main").read_text() == COMMIT
    assert not [path for path in cache.rglob("*") if ".part" in path.name]


@pytest.mark.parametrize("form", ['"{}"', "{}", 'W/"{}"'])
def test_the_forms_of_an_etag_are_known(hub: Hub, form: str) -> None:
    hub.lies["config.json"] = {"ETag": form.format(git_oid(CONFIG))}
    hub.lies["model.safetensors"] = {"X_Linked_ETag": form.format(SHA256), "ETag": "../../x"}
    assert (fetch_hub(NAME, patience=IMPATIENT) / "model.safetensors").read_bytes() == WEIGHTS


PATHS = [
    "../../../../outside", "/tmp/allmlp-outside", "..", ".", "a/b", "", "x" * 10_000, "\x00", "a\x00b", "C:\\x", "\\\\host\\x",
    "%2e%2e%2fx", "~/x", "con", "\x1b[2J", "\u202e", "..\\..\\x", "a" * 39,
    "A" * 40, "g" * 40, "a" * 41, "a" * 63, "a" * 40 + "/",
    "../" + "a" * 40, "a" * 40 + "\x00", "\xff" * 40, "WW/" + "a" * 40,
]  # fmt: skip


@pytest.mark.parametrize("header", ["ETag", "X_Linked_ETag", "X_Repo_Commit"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_a_header_says_never_becomes_a_path(hub: Hub, tmp_path: Path, cache: Path, header: str, name: str) -> None:
    for number, path in enumerate(PATHS):
        value = path.encode().decode("latin-1")
        if header == "X_Linked_ETag" and not value:
            continue  # as if it were absent
        hub.lies[name] = {header: f'"{value}"' if number % 2 and header != "X_Repo_Commit" else value}
        assert "names no " in refusal(tmp_path)
    assert {entry.name for entry in cache.rglob("blobs/*")} <= {git_oid(CONFIG)}


@pytest.mark.parametrize("commit", ["../../../outside", "/tmp/allmlp-outside", "x" * 10_000, "\x1b[2J"])
def test_the_commit_of_a_missing_file_is_not_used(hub: Hub, tmp_path: Path, cache: Path, commit: str) -> None:
    hub.status["config.json"] = "404 Not Found"
    hub.lies["config.json"] = {"X_Error_Code": "EntryNotFound", "X_Repo_Commit": commit}
    assert "holds no config.json" in refusal(tmp_path)
    assert list(cache.iterdir()) == []


def test_another_commit_than_the_requested_one_is_refused(hub: Hub, tmp_path: Path) -> None:
    assert "names no commit of the requested revision" in refusal(tmp_path, revision="f" * 40)


@pytest.mark.parametrize(
    "revision",
    ["../main", "/etc/x", "a//b", "a/../b", ".", "refs/.x", "a\nb", "a b", "\x00", "\u202e", "x" * 300, "a/"],
)
def test_a_revision_that_is_a_path_is_refused(hub: Hub, tmp_path: Path, revision: str) -> None:
    assert "is not a revision" in refusal(tmp_path, revision=revision)
    assert hub.server.requests == []


@pytest.mark.parametrize("wrong", [b"", WEIGHTS[:-1], WEIGHTS[:-1] + b"x", WEIGHTS + b"x", b"version https://git-lfs"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_other_content_than_promised_does_not_enter_the_cache(
    hub: Hub, tmp_path: Path, cache: Path, name: str, wrong: bytes
) -> None:
    hub.bodies[name] = [answer(body=wrong, ETag='"x"')]
    assert "the Hub promises" in refusal(tmp_path)
    assert not [path for path in cache.rglob(name) if path.is_file()]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize(
    "kind", ["endless", "endless chunks", "large", "interim", "drip", "gzip", "1 byte", "slow head"]
)
def test_a_body_without_end_is_neither_kept_nor_waited_for(
    hub: Hub, tmp_path: Path, cache: Path, name: str, kind: str
) -> None:
    hub.bodies[name] = {
        "endless": itertools.chain([answer(Content_Length="absent")], endless(bytes(1 << 16))),
        "endless chunks": itertools.chain(
            [answer(Content_Length="absent", Transfer_Encoding="chunked")],
            endless(b"10000\r\n" + bytes(1 << 16) + b"\r\n"),
        ),
        "large": [answer(Content_Length=str(1 << 40))],
        "interim": endless(b"HTTP/1.1 100 Continue\r\n\r\n"),
        "drip": itertools.chain([answer(Content_Length="10000")], hub.server.drip(endless(b"x"))),
        "gzip": [answer(body=WEIGHTS, Content_Encoding="gzip")],
        "1 byte": [answer(Content_Length="10240"), b"x"],
        "slow head": hub.server.drip(endless(b"H")),
    }[kind]
    refusal(tmp_path)
    assert sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) < 100_000
    assert not list(cache.rglob(f"snapshots/*/{name}"))


def test_a_size_beyond_the_limit_is_refused_before_the_download(hub: Hub, tmp_path: Path) -> None:
    hub.lies["model.safetensors"] = {"X_Linked_Size": "99999999999"}
    assert "99,999,999,999 bytes, more than the limit of 8,589,934,592" in refusal(tmp_path)
    with pytest.raises(CheckpointError, match=r"more than the limit of 480,\d\d\d,\d\d\d"):
        fetch_hub(NAME, model="b16-i1k-timm", patience=IMPATIENT)


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://", "//", "data:,x", "http://h\x1b[2J/"]
)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_hub_cannot_lead_to_anything_but_web_servers(hub: Hub, tmp_path: Path, name: str, target: str) -> None:
    hub.status[name] = "302 Found"
    hub.lies[name] = {"Location": target}
    assert "the server redirects" in refusal(tmp_path)


def test_a_hub_that_redirects_for_ever_is_given_up(hub: Hub, tmp_path: Path) -> None:
    hub.status["config.json"] = "307 Temporary Redirect"
    hub.lies["config.json"] = {"Location": "/owner/name/resolve/main/config.json"}
    assert "redirects more than 10 times" in refusal(tmp_path)


def test_the_token_goes_to_the_hub_and_to_no_other_host(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with HostileServer(lambda _: [answer(body=WEIGHTS, ETag='"x"')]) as storage:
        hub.status["model.safetensors"] = "302 Found"
        hub.lies["model.safetensors"] = {"Location": f"{storage.url}/x?Signature=s", "X_Linked_ETag": f'"{SHA256}"'}
        fetch_hub(NAME, patience=IMPATIENT)
    assert {request.headers.get("authorization") for request in hub.server.requests} == {f"Bearer {TOKEN}"}
    assert ["authorization" in request.headers for request in storage.requests] == [False]


@pytest.mark.parametrize("words", ["\x1b[2J", "\x00", "line\u2028forged", "x" * 10_000])
def test_a_hubs_words_are_escaped_and_short(hub: Hub, tmp_path: Path, words: str) -> None:
    hub.status["config.json"] = "403 Forbidden"
    hub.lies["config.json"] = {"X_Error_Message": words.encode().decode("latin-1")}
    assert "denied access" in refusal(tmp_path)


Plant = Callable[[Path, Path], None]  # the repository's folder in the cache, a folder outside of it


def _blob_link(folder: Path, elsewhere: Path) -> None:
    (folder / "blobs").mkdir(parents=True)
    (folder / "blobs" / SHA256).symlink_to(elsewhere / "precious")


def _part_link(folder: Path, elsewhere: Path) -> None:
    (folder / "blobs").mkdir(parents=True)
    (folder / "blobs" / f"{SHA256}.part").symlink_to(elsewhere / "precious")
    (folder / "blobs" / f"{SHA256}.part.json").write_text(json.dumps({"validator": '"x"', "size": len(WEIGHTS)}))


def _part_hard_link(folder: Path, elsewhere: Path) -> None:
    (folder / "blobs").mkdir(parents=True)
    os.link(elsewhere / "precious", folder / "blobs" / f"{SHA256}.part")


def _snapshot_link(folder: Path, elsewhere: Path) -> None:
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    (folder / "snapshots" / COMMIT / "model.safetensors").symlink_to(elsewhere / "precious")


def _config_link(folder: Path, elsewhere: Path) -> None:
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    (folder / "snapshots" / COMMIT / "config.json").symlink_to(elsewhere / "precious")


def _ref_link(folder: Path, elsewhere: Path) -> None:
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").symlink_to(elsewhere / "precious")


def _ref_endless(folder: Path, elsewhere: Path) -> None:
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_bytes(b"\xff" * 1_000_000)


def _ref_path(folder: Path, elsewhere: Path) -> None:
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("../../../../elsewhere")


def _damaged_blob(folder: Path, elsewhere: Path) -> None:
    (folder / "blobs").mkdir(parents=True)
    (folder / "blobs" / SHA256).write_bytes(WEIGHTS[::-1])


@pytest.mark.parametrize(
    "plant",
    [
        _blob_link, _part_link, _part_hard_link, _snapshot_link, _config_link, _ref_link, _ref_endless, _ref_path,
        _damaged_blob,
    ],
)  # fmt: skip
def test_what_is_planted_in_the_cache_is_replaced_and_nothing_else(
    hub: Hub, tmp_path: Path, cache: Path, plant: Plant
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_bytes(b"keep")
    plant(cache / FOLDER, elsewhere)
    before = outside(tmp_path)
    folder = fetch_hub(NAME, patience=IMPATIENT)
    assert outside(tmp_path) == before
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "config.json").read_bytes() == CONFIG


@pytest.mark.parametrize(
    "name",
    [*(f"{FOLDER}/{name}" for name in ("blobs", "snapshots", f"snapshots/{COMMIT}", "refs")), ".locks", f".locks/{FOLDER}"],
)  # fmt: skip
def test_a_planted_link_to_another_folder_is_not_written_through(
    hub: Hub, tmp_path: Path, cache: Path, name: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    planted = cache / name
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.symlink_to(tmp_path / "elsewhere")
    assert "leads outside the Hub's cache" in refusal(tmp_path)


@pytest.mark.parametrize("name", [f"{FOLDER}/blobs", f"{FOLDER}/snapshots", ".locks"])
def test_a_planted_file_in_place_of_a_folder_is_named(hub: Hub, tmp_path: Path, cache: Path, name: str) -> None:
    (cache / name).parent.mkdir(parents=True, exist_ok=True)
    (cache / name).write_bytes(b"")
    message = refusal(tmp_path)
    assert str(cache / name) in message
    assert "Check the connection" not in message


@pytest.mark.parametrize("wrong", [b"", b"{}", CONFIG + b" ", b"\xff"])
@pytest.mark.parametrize("offline", [True, False])
def test_a_cached_configuration_is_compared_with_its_digest(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: bytes, offline: bool
) -> None:
    folder = fetch_hub(NAME, patience=IMPATIENT)
    (folder / "config.json").write_bytes(wrong)
    if offline:
        monkeypatch.setenv("ALLMLP_OFFLINE", "1")
    assert "does not have its digest" in refusal(tmp_path)
    if not offline:
        assert (fetch_hub(NAME, patience=IMPATIENT) / "config.json").read_bytes() == CONFIG


@pytest.mark.parametrize("offline", [True, False])
def test_a_configuration_in_a_cache_without_links_is_compared_too(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    monkeypatch.setattr(Path, "symlink_to", _no_links)
    config = fetch_hub(NAME, patience=IMPATIENT) / "config.json"
    assert not config.is_symlink()
    config.write_bytes(b"{}")
    if offline:
        monkeypatch.setenv("ALLMLP_OFFLINE", "1")
        with pytest.raises(CheckpointError, match="an earlier download had"):
            fetch_hub(NAME, patience=IMPATIENT)
    else:
        assert (fetch_hub(NAME, patience=IMPATIENT) / "config.json").read_bytes() == CONFIG


def _no_links(path: Path, target: Path) -> None:
    raise OSError("no links on this file system")


def test_weights_in_the_cache_that_are_not_those_recorded_are_not_used(hub: Hub, tmp_path: Path, cache: Path) -> None:
    folder = fetch_hub(NAME, patience=IMPATIENT)
    other = hashlib.sha256(b"other").hexdigest()
    (cache / FOLDER / "blobs" / other).write_bytes(b"not other")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(Path("..", "..", "blobs", other))
    assert f"the Hub promises {other}" in refusal(tmp_path)


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_cache_of_nonsense_holds_no_weights(cache: Path, revision: str) -> None:
    (cache / FOLDER / "refs").mkdir(parents=True)
    (cache / FOLDER / "refs" / "main").write_bytes(b"\xff\x00")
    assert cached_weights(NAME, revision) is None
