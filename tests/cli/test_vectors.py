"""``dlkit similar``, ``dlkit analogy``, ``dlkit map``, ``dlkit evaluate``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dlkit.cli import main
from dlkit.models import KeyedVectors

WORDS = ["king", "queen", "man", "woman", "apple", "pear", "tree"]


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    table = rng.standard_normal((len(WORDS), 20))
    table[1] = table[0] - table[2] + table[3] + 0.1 * rng.standard_normal(20)
    table[5] = table[4] + 0.1 * rng.standard_normal(20)
    return table


@pytest.fixture(params=["run", "vectors.txt", "vectors.bin", "vectors.npz"])
def source(request, table, tmp_path):
    if request.param == "run":
        pytest.importorskip("safetensors")
    KeyedVectors(WORDS, table).save(tmp_path / request.param)
    return str(tmp_path / request.param)


@pytest.fixture
def file(table, tmp_path):
    return str(KeyedVectors(WORDS, table).save(tmp_path / "v.npz"))


@pytest.fixture
def tests(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "analogy"
    folder.mkdir(parents=True)
    (folder / "questions-words.txt").write_text(
        ": royal\nMan King woman queen\nman king woman apple\n: [none]\na b c d\n"
    )
    (folder / "wordsim353.tsv").write_text(
        "# x\napple\tpear\t9\nking\ttree\t1\nqueen\tapple\t0.5\nqueen\tx\t2\n"
    )
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path / "data"))
    return folder


def test_similar(source, capsys):
    assert main(["similar", source, "apple", "--topn", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["word", "cosine"]
    assert lines[1].split()[0] == "pear"
    assert len(lines) == 3
    assert main(["similar", source, "apple", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 6
    assert rows[0]["word"] == "pear"
    assert rows[0]["cosine"] > 0.9


def test_analogy(file, capsys):
    for options, what in (([], "cosine"), (["--mul"], "score")):
        assert main(["analogy", file, "king", "man", "woman", "--topn", "1", *options]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["word", what]
        assert lines[1].split()[0] == "queen"
        assert len(lines) == 2
    assert main(["analogy", file, "king", "man", "woman", "--restrict-vocab", "1"]) == 0
    assert "no other words" in capsys.readouterr().err


def test_evaluate(file, tests, capsys):
    assert main(["evaluate", file]) == 0
    shown = capsys.readouterr().out
    assert "7 words of 20 dimensions" in shown
    assert "50.0%" in shown
    assert "[none]" in shown
    assert "wordsim353.tsv" in shown
    assert "25.0%" in shown
    assert main(["evaluate", file, "--mul", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["analogies"]["method"] == "3CosMul"
    assert report["analogies"]["sections"][0] == {"section": "royal", "correct": 1, "asked": 2}
    assert report["analogies"]["sections"][-1]["asked"] == 2
    (pairs,) = report["pairs"]
    assert pairs["percent_unknown"] == 25
    assert pairs["spearman"] > 0
    assert main(["evaluate", file, "--case-sensitive", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["analogies"]["sections"][0]["asked"] == 1
    assert main(["evaluate", file, "--pairs", str(tests / "wordsim353.tsv"), "--json"]) == 0
    assert "analogies" not in json.loads(capsys.readouterr().out)


def test_map(source, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    assert main(["map", source, "--method", "tsne", "--out", "here/maps"]) == 0
    assert "7 of 7 words, by t-SNE" in capsys.readouterr().out
    assert (tmp_path / "here/maps/map.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "here/maps/map.html").read_text().startswith("<!doctype html>")
    assert main(["map", source, "apple", "king", "--near", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["words"] == 4
    folder = source if source.endswith("run") else "."
    assert report["files"] == [str(Path(folder) / name) for name in ("map.png", "map.html")]
    assert sum(report["explained"]) <= 1
    assert main(["map", source, "--top", "4"]) == 0


def test_official_files(file, data_folder, capsys):
    assert (
        main(["evaluate", file, "--analogies", str(data_folder / "analogy" / "questions-words.txt.xz")]) == 0
    )
    assert "family" in capsys.readouterr().out
    assert main(["evaluate", file, "--pairs", str(data_folder / "analogy" / "simlex999.txt")]) == 0
    assert "–        –    99.9%" in capsys.readouterr().out  # of the one pair there is no correlation


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["similar", "FILE", "appel"], 1, "'appel' has no vector (did you mean 'apple'?)"),
        (["similar", "none.bin", "apple"], 1, "none.bin: no such file"),
        (["similar", "FILE"], 2, "Missing argument"),
        (["similar", "FILE", "apple", "--topn", "0"], 2, "--topn"),
        (["analogy", "FILE", "king", "man"], 2, "Missing argument"),
        (["analogy", "FILE", "king", "man", "women", "--mul"], 1, "did you mean 'woman'"),
        (["map", "FILE", "appel"], 1, "'appel' has no vector (did you mean 'apple'?)"),
        (["map", "none.bin"], 1, "none.bin: no such file"),
        (["map", "FILE", "--top", "0"], 2, "--top"),
        (["map", "FILE", "--method", "umap"], 2, "--method is 'umap', expected one of auto, pca, tsne"),
        (
            ["map", "FILE", "king", "man", "--method", "tsne"],
            1,
            "t-SNE: 2 words, expected at least 4 (PCA takes",
        ),
        (["map", "FILE", "--out", "FILE"], 2, "is a file, expected a folder"),
        (["evaluate", "FILE", "--analogies", "none.txt"], 1, "none.txt: no such file"),
        (["evaluate", "FILE"], 1, "DLKIT_DATA is not set"),
    ],
)
def test_what_is_wrong(arguments, status, message, file, capsys, monkeypatch):
    monkeypatch.delenv("DLKIT_DATA", raising=False)
    assert main([file if each == "FILE" else each for each in arguments]) == status
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("error: ")
    assert captured.out == ""


def test_folders_without_vectors(tmp_path, capsys):
    assert main(["similar", str(tmp_path), "apple"]) == 1
    assert "holds no word vectors" in capsys.readouterr().err
