"""`allmlp push` by the real huggingface_hub against a local hub, over HTTP and its LFS protocol.

huggingface_hub reads its settings when it is imported: a process of its own carries the commands out. What goes to the
hub by Xet, which huggingface_hub prefers where a hub offers it, is not tested: its storage speaks no simple HTTP.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from tests.servers.files import Faults
from tests.servers.hub import TOKEN, HubServer

from allmlp import VARIANTS, Checkpoint, MlpMixer, Preprocessing, load_checkpoint, save_checkpoint
from allmlp.config import override

WORKER = """
import contextlib, io, json, os, sys
from allmlp.cli.main import main
for line in sys.stdin:
    environment, arguments = json.loads(line)
    for name, value in environment.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    out, err, code = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as stop:
            code = stop.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def run(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Outcome]]:
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "ALLMLP_", "HUGGING"))}
    settings = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ALLMLP_HOME": str(home / "allmlp"),
        "OMP_NUM_THREADS": "1",
    }
    # huggingface_hub's own use of httpx is deprecated where it uploads without Xet.
    deprecated = "ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning"
    command = [sys.executable, "-W", "error", "-W", deprecated, "-c", WORKER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=kept | settings
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        talk = (process.stdin, process.stdout)

        def run(*arguments: object, **environment: str | None) -> Outcome:
            defaults: dict[str, str | None] = {"HF_TOKEN": TOKEN, "ALLMLP_OFFLINE": None}
            print(json.dumps([defaults | environment, [str(each) for each in arguments]]), file=talk[0], flush=True)
            outcome = Outcome(*json.loads(talk[1].readline()))
            assert TOKEN not in outcome.out + outcome.err
            return outcome

        yield run
        process.stdin.close()


@pytest.fixture(autouse=True)
def no_faults(hub: HubServer) -> Iterator[None]:
    hub.requests.clear()
    yield
    hub.faults, hub.may_write = Faults(), True


def received(hub: HubServer, name: str, branch: str = "main") -> dict[str, bytes]:
    repository = hub.repositories[name]
    return repository.commits[repository.refs[branch]]


def test_what_arrives_is_what_was_there_bit_for_bit_and_comes_back(hub, run, saved_checkpoint):
    outcome = run("push", saved_checkpoint, "ann/mixer", "--license", "apache-2.0", "--message", "First")
    assert outcome.code == 0, outcome.err
    files = received(hub, "ann/mixer")
    assert set(files) == {".gitattributes", "README.md", "config.json", "model.safetensors"}
    for name in ("config.json", "model.safetensors"):
        assert files[name] == (saved_checkpoint / name).read_bytes()
    assert hub.repositories["ann/mixer"].messages == ["First"]
    assert not hub.repositories["ann/mixer"].private
    assert b"license: apache-2.0" in files["README.md"]
    assert b"allmlp predict hf:ann/mixer PHOTO.jpg" in files["README.md"]
    assert f"{hub.url}/ann/mixer/commit/" in outcome.out
    assert "inspect hf:ann/mixer" in outcome.out
    assert outcome.err == ""  # no progress where there is no terminal
    shown = [json.loads(run("inspect", source, "--json").out) for source in (saved_checkpoint, "hf:ann/mixer")]
    assert all(each.pop("speed") for each in shown)  # measured anew
    assert shown[0] == shown[1]


def test_pushing_again_is_one_more_commit(hub, run, saved_checkpoint):
    for _ in range(2):
        assert run("push", saved_checkpoint, "ann/twice").code == 0
    assert len(hub.repositories["ann/twice"].commits) == 3


def test_a_branch_and_a_private_repository_are_made(hub, run, saved_checkpoint):
    outcome = run("push", saved_checkpoint, "ann/secret", "--private", "--revision", "half")
    assert outcome.code == 0, outcome.err
    assert hub.repositories["ann/secret"].private
    assert "model.safetensors" in received(hub, "ann/secret", "half")
    assert "model.safetensors" not in received(hub, "ann/secret")
    assert run("inspect", "hf:ann/secret@half").code == 0
    assert run("inspect", "hf:ann/other@half", HF_TOKEN=None).code == 4


def test_private_is_never_silently_public(hub, run, saved_checkpoint):
    hub.add("ann/public", {"README.md": b"mine"})
    outcome = run("push", saved_checkpoint, "ann/public", "--private")
    assert outcome.code == 4
    assert "the repository already exists and is public. Nothing was uploaded" in outcome.err
    assert received(hub, "ann/public") == {"README.md": b"mine"}


def test_timms_form_arrives_and_comes_back(hub, run, tmp_path):
    config = override(VARIANTS["S/32"], ["num_classes=2", "gelu=erf", "num_blocks=8"])
    torch.manual_seed(0)
    weights = {name: weight.to(torch.bfloat16) for name, weight in MlpMixer(config).state_dict().items()}
    checkpoint = Checkpoint(
        config=config,
        weights=weights,
        preprocessing=Preprocessing(image_size=224, crop_fraction=0.875),
        class_names=("cat", "dog"),
        source="random weights",
    )
    folder = save_checkpoint(checkpoint, tmp_path / "checkpoint")
    outcome = run("push", folder, "ann/timm", "--to", "timm")
    assert outcome.code == 0, outcome.err
    files = received(hub, "ann/timm")
    assert json.loads(files["config.json"])["architecture"] == "mixer_s32_224"
    assert b"hf-hub:ann/timm" in files["README.md"]
    assert "What the timm format does not hold" in outcome.out
    assert "Where the weights came from: random weights" in outcome.out
    shown = json.loads(run("inspect", "hf:ann/timm", "--json").out)
    assert shown["class_names"] == ["cat", "dog"]
    assert shown["model"]["gelu"] == "erf"


@pytest.mark.parametrize("ending", ["photos/My weights/w.npz", "photos/My weights/w.npz (ours): unknown origin"])
def test_no_path_of_this_machine_is_published(hub, run, saved_checkpoint, tmp_path, ending):
    """The oracle: the folders are nowhere in the bytes that the hub received."""
    for number, folder in enumerate((Path.home(), tmp_path)):
        source = f"trained by allmlp, step 3, from {folder}/run; weights of {folder}/{ending}"
        if "unknown" in ending:
            source = f"{folder}/{ending}"
        saved = save_checkpoint(load_checkpoint(saved_checkpoint).replace(source=source), tmp_path / str(number))
        name = f"ann/paths-{number}-{len(ending)}"
        assert run("push", saved, name).code == 0
        files = received(hub, name)
        assert "w.npz" in json.loads(files["config.json"])["source"]
        for content in files.values():
            assert all(word.encode() not in content for word in (f"{folder}/", "My weights", "/photos"))


def test_a_runs_figures_stand_in_the_card(hub, run, saved_checkpoint, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best").symlink_to(saved_checkpoint)
    figures = {
        "test": {"top1": 0.912, "num_examples": 1372},  # as older runs have it: Wilson's interval
        "cross-validation": {"top1": 0.9, "num_examples": 100, "top1_interval": [0.78, 0.95]},
    }
    (tmp_path / "metrics.json").write_text(json.dumps({"evaluations": figures}))
    assert run("push", tmp_path, "ann/run").code == 0
    card = received(hub, "ann/run")["README.md"].decode()
    assert "on the test photos of its run: 91.2% (1,251 of 1,372; 95% interval 89.6% to 92.6%)." in card
    assert "on the cross-validation photos of its run: 78% to 95% (90 of 100; 95% interval)." in card


@pytest.mark.parametrize("branch", ["main", "new"])
def test_a_card_that_somebody_wrote_is_kept(hub, run, saved_checkpoint, branch):
    name = f"ann/card-{branch}"
    hub.add(name, {"README.md": b"# Written by hand"})
    outcome = run("push", saved_checkpoint, name, "--revision", branch)
    assert outcome.code == 0, outcome.err
    assert f"hf:{name}: its README.md was not written by allmlp and is kept" in outcome.err
    assert received(hub, name, branch)["README.md"] == b"# Written by hand"
    assert "model.safetensors" in received(hub, name, branch)


def test_a_card_of_ours_is_replaced(hub, run, saved_checkpoint):
    assert run("push", saved_checkpoint, "ann/ours", "--license", "mit").code == 0
    outcome = run("push", saved_checkpoint, "ann/ours", "--license", "apache-2.0")
    assert (outcome.code, outcome.err) == (0, "")
    assert b"license: apache-2.0" in received(hub, "ann/ours")["README.md"]


def test_the_checkpoint_is_read_before_a_token_is_asked_for(hub, run, saved_checkpoint, tmp_path):
    for environment, words in (({"HF_TOKEN": None}, "hf auth login"), ({"ALLMLP_OFFLINE": "1"}, "forbids uploads")):
        outcome = run("push", tmp_path / "no such checkpoint", "ann/nobody", **environment)
        assert (outcome.code, "there is no such checkpoint" in outcome.err) == (4, True)
        outcome = run("push", saved_checkpoint, "ann/nobody", **environment)
        assert (outcome.code, words in outcome.err) == (4, True)
    assert hub.requests == []


def test_without_a_token_nothing_is_asked_for(hub, run, saved_checkpoint):
    outcome = run("push", saved_checkpoint, "ann/nobody", HF_TOKEN=None)
    assert outcome.code == 4
    assert "hf auth login" in outcome.err
    assert hub.requests == []


def test_offline_is_told(hub, run, saved_checkpoint):
    outcome = run("push", saved_checkpoint, "ann/nobody", ALLMLP_OFFLINE="1")
    assert outcome.code == 4
    assert "forbids uploads" in outcome.err
    assert hub.requests == []


def test_a_token_without_the_right_is_refused_with_what_to_do(hub, run, saved_checkpoint):
    hub.may_write = False
    outcome = run("push", saved_checkpoint, "bob/mixer")
    assert outcome.code == 4
    assert "403 (You don't have the rights to create a model under this namespace)" in outcome.err
    assert "hf auth login" in outcome.err
    assert "bob/mixer" not in hub.repositories


def test_a_wrong_token_is_refused_with_what_to_do(hub, run, saved_checkpoint):
    outcome = run("push", saved_checkpoint, "ann/stranger", HF_TOKEN="hf_wrong")
    assert outcome.code == 4
    assert "hf auth login" in outcome.err
    assert "hf_wrong" not in outcome.err


def test_a_name_or_a_licence_that_cannot_be_exits_2(hub, run, saved_checkpoint):
    for repository in ("mixer", "a/b/c", "ann/mi xer", ""):
        outcome = run("push", saved_checkpoint, repository)
        assert (outcome.code, "OWNER/NAME" in outcome.err) == (2, True)
    outcome = run("push", saved_checkpoint, "ann/mixer2", "--license", "mit\nx: y")
    assert (outcome.code, "apache-2.0" in outcome.err) == (2, True)
    assert hub.requests == []


def test_a_card_that_the_hub_refuses_is_told(hub, run, saved_checkpoint):
    outcome = run("push", saved_checkpoint, "ann/licence", "--license", "no-such-licence")
    assert outcome.code == 4
    assert '"license" must be one of' in outcome.err
    assert set(received(hub, "ann/licence")) == {".gitattributes"}


@pytest.mark.parametrize("part", ["preupload", "objects/batch", "upload/", "commit/"])
def test_an_upload_that_fails_is_told_and_leaves_the_branch_as_it_was(hub, run, saved_checkpoint, part):
    name = f"ann/fails-{part.strip('/').replace('/', '-')}"
    hub.refused = part
    outcome = run("push", saved_checkpoint, name)
    hub.refused = ""
    assert outcome.code == 4
    assert f"hf:{name}: " in outcome.err
    assert "answered 413" in outcome.err
    assert set(received(hub, name)) == {".gitattributes"}
    assert run("push", saved_checkpoint, name).code == 0


def test_what_timm_cannot_hold_is_refused_before_anything_is_uploaded(hub, run, saved_checkpoint):
    outcome = run("push", saved_checkpoint, "ann/tanh", "--to", "timm")
    assert outcome.code == 2
    assert hub.requests == []
