import json

from tests.data.stand_ins import write_cifar, write_pets

from allmlp.data import DATASETS


def test_every_data_set_is_listed_with_whether_it_is_here(allmlp, tmp_path, monkeypatch):
    write_pets(tmp_path, monkeypatch)
    monkeypatch.setenv("ALLMLP_DATA", str(tmp_path))
    outcome = allmlp("data")
    assert outcome.code == 0
    rows = [line.split() for line in outcome.out.splitlines()]
    here = {row[0]: row[1] for row in rows if row and row[0] in DATASETS}
    assert here == {name: "yes" if name in ("clothing", "pets") else "no" for name in DATASETS}
    for named in DATASETS.values():
        assert named.summary in outcome.out


def test_a_data_set_says_its_terms_its_folder_and_what_to_do_next(allmlp, tmp_path, monkeypatch):
    monkeypatch.setenv("ALLMLP_DATA", str(tmp_path))
    outcome = allmlp("data", "pets")
    assert DATASETS["pets"].terms in outcome.out
    assert f"missing {tmp_path / 'oxford-iiit-pet'}" in outcome.out
    assert "allmlp data pets --download" in outcome.out
    write_pets(tmp_path, monkeypatch)
    outcome = allmlp("data", "pets")
    assert f"here    {tmp_path / 'oxford-iiit-pet'}" in outcome.out
    assert "allmlp train pets" in outcome.out
    outcome = allmlp("data", "imagenet")
    assert outcome.code == 0
    assert f"into {tmp_path / 'imagenet'}" in outcome.out


def test_a_folder_without_its_files_is_no_data_set(allmlp, tmp_path, monkeypatch):
    monkeypatch.setenv("ALLMLP_DATA", str(tmp_path))
    (tmp_path / "oxford-iiit-pet").mkdir()
    rows = [line.split() for line in allmlp("data").out.splitlines()]
    assert [row[1] for row in rows if row and row[0] == "pets"] == ["no"]
    assert f"missing {tmp_path / 'oxford-iiit-pet'}" in allmlp("data", "pets").out


def test_a_folder_that_cannot_be_is_an_error_and_nothing_else_is_printed(allmlp, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for source, words in (
        (f"cifar10:{'a' * 300}", "this folder cannot be used (File name too long)"),
        ("cifar10:~nobody1/x", "this folder cannot be used (Could not determine home directory.)"),
        (f"cifar10:{tmp_path / 'file'}", "is a file; expected the folder that contains cifar-10-batches-py"),
        (f"cifar10:{tmp_path / 'loop'}", "this folder cannot be used ("),
        ("cifar10:", "there is no folder after the colon"),
    ):
        for command in ("data", "train"):
            outcome = allmlp(command, source)
            assert (outcome.code, outcome.out) == (3, ""), source
            assert words in outcome.err
    for name in ("file", "loop"):
        monkeypatch.setenv("ALLMLP_DATA", str(tmp_path / name))
        outcome = allmlp("data")
        assert outcome.code == 3 and f"cifar10 (ALLMLP_DATA={tmp_path / name}): " in outcome.err
        assert allmlp("data", "clothing").code == 0


def test_a_download_of_what_is_here_says_so(allmlp, tmp_path, monkeypatch):
    write_pets(tmp_path, monkeypatch)
    outcome = allmlp("data", f"pets:{tmp_path}", "--download")
    assert outcome.code == 0
    assert f"here    {tmp_path / 'oxford-iiit-pet'}" in outcome.out


def test_wrong_names_and_missing_names_exit_2(allmlp):
    outcome = allmlp("data", "cifar11")
    assert outcome.code == 2 and "Did you mean 'cifar10' or 'cifar100'?" in outcome.err
    outcome = allmlp("data", "--download")
    assert outcome.code == 2 and "needs the name of a data set" in outcome.err


def test_training_on_what_is_not_here_exits_3_with_the_command(allmlp, tmp_path, monkeypatch):
    monkeypatch.setenv("ALLMLP_DATA", str(tmp_path))
    for arguments in (("train", "cifar10"), ("train", "cifar10", "--recipe", "cifar10")):
        outcome = allmlp(*arguments)
        assert outcome.code == 3
        assert "allmlp data cifar10 --download" in outcome.err


def test_a_named_data_set_is_trained_on_continued_and_evaluated(allmlp, tmp_path, monkeypatch):
    write_cifar(tmp_path / "data", monkeypatch, kind="CIFAR10")
    monkeypatch.setenv("ALLMLP_DATA", str(tmp_path / "data"))
    run = tmp_path / "run"
    narrow = [f"--set={key}" for key in ("model.num_blocks=1", "model.hidden_dim=16", "max_minutes=none")]
    outcome = allmlp("train", "cifar10", "--epochs", 1, "--batch-size", 50, "--out", run, *narrow)
    assert outcome.code == 0, outcome.err
    assert "train 130, validation 20, test 30 photos" in outcome.out
    monkeypatch.delenv("ALLMLP_DATA")
    assert "is finished" in allmlp("train", "--resume", run).out
    outcome = allmlp("evaluate", run, f"cifar10:{tmp_path / 'data'}", "--split", "test")
    assert outcome.code == 0, outcome.err


def test_json_has_what_the_text_has(allmlp, tmp_path, monkeypatch):
    monkeypatch.setenv("ALLMLP_DATA", str(tmp_path))
    listed = json.loads(allmlp("data", "--format", "json").out)
    assert [each["name"] for each in listed] == list(DATASETS)
    pets = next(each for each in listed if each["name"] == "pets")
    assert pets == json.loads(allmlp("data", "pets", "--json").out)
    assert (pets["is_here"], pets["folder"]) == (False, str(tmp_path / "oxford-iiit-pet"))
    assert (pets["summary"], pets["terms"]) == (DATASETS["pets"].summary, DATASETS["pets"].terms)
    write_pets(tmp_path, monkeypatch)
    found = json.loads(allmlp("data", f"pets:{tmp_path}", "--download", "--json").out)
    assert (found["name"], found["is_here"]) == (f"pets:{tmp_path}", True)
