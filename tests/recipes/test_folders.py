from __future__ import annotations

import json

import pytest

from dlkit.recipes import SettingsError, get
from dlkit.recipes.folders import clear, contents, new_folder, open_run, stored_settings
from dlkit.recipes.recipe import RunOptions
from dlkit.train import RunFolderError


def opened(folder, **options):
    return open_run("xor", get("xor").settings(), RunOptions(folder, **options))


def test_settings_are_written_and_read_back(tmp_path):
    opened(tmp_path / "run")
    name, values = stored_settings(tmp_path / "run")
    assert name == "xor"
    threads = values.pop("threads")
    assert values.pop("device") == "cpu"
    assert threads >= 1
    assert get("xor").settings(**values) == get("xor").settings()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"recipe": 3}', "[" * 100_000])
def test_damaged_settings(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"settings\.json"):
        stored_settings(tmp_path)


def test_no_settings(tmp_path):
    with pytest.raises(RunFolderError, match="has no run in it"):
        stored_settings(tmp_path)
    with pytest.raises(RunFolderError, match="does not exist"):
        stored_settings(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="is a file"):
        stored_settings(tmp_path / "file")


def test_overwrite_removes_a_run_and_nothing_else(tmp_path):
    folder = tmp_path / "run"
    opened(folder)
    (folder / "loss.png").write_bytes(b"old")
    (folder / "online").mkdir()
    (folder / "online" / "settings.json").write_text("{}")
    run = opened(folder, overwrite=True)
    assert not (folder / "loss.png").exists()
    assert not (folder / "online").exists()
    assert json.loads((run.folder / "settings.json").read_text())["recipe"] == "xor"


def test_overwrite_leaves_a_folder_with_other_files_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "loss.png").write_bytes(b"")
    with pytest.raises(SettingsError, match=r"holds files that no run writes \(thesis\.tex\)"):
        opened(tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loss.png", "thesis.tex"]


def test_overwrite_follows_no_links(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "settings.json").write_text("{}")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "online").symlink_to(elsewhere)
    clear(folder)
    assert (elsewhere / "settings.json").exists()
    assert not (folder / "online").exists()


def test_new_folders_do_not_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = get("mlp").settings()
    first = new_folder("mlp", settings)
    first.mkdir(parents=True)
    second = new_folder("mlp", settings)
    assert first != second
    assert first.parts[:1] == ("runs",)
    assert first.name.startswith("mlp-digits-")


def test_contents_lists_what_is_there(tmp_path):
    for name in ("metrics.jsonl", "loss.png", "unknown"):
        (tmp_path / name).write_text("")
    assert [name for name, _ in contents(tmp_path)] == ["loss.png", "metrics.jsonl"]


def test_a_run_of_a_former_version_is_gone_on_with(tmp_path):
    recipe = get("softmax")
    recipe.run(run_dir=tmp_path / "run", epochs=1, progress=False)
    file = tmp_path / "run" / "settings.json"
    former = json.loads(file.read_text())
    del former["weight_decay"]  # as if it had come later
    file.write_text(json.dumps(former))
    with pytest.raises(RunFolderError, match=r"weight_decay is 0\.1, was 0\.0"):
        recipe.run(run_dir=tmp_path / "run", epochs=2, weight_decay=0.1, resume=True, progress=False)
    recipe.run(run_dir=tmp_path / "run", epochs=2, resume=True, progress=False)
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2
