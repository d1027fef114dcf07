"""Tagged sentences of one's own, in files and folders."""

from __future__ import annotations

import lzma

import pytest

from dlkit.data import DataError, DataNotFoundError, read_tagged


def conllu(*words, tag="NOUN"):
    return "".join(f"{i}\t{w}\t_\t{tag}" + "\t_" * 6 + "\n" for i, w in enumerate(words, 1)) + "\n"


def columns(*pairs, between="\t"):
    return "".join(between.join(pair) + "\n" for pair in pairs) + "\n"


def test_one_file_is_cut_in_three(tmp_path):
    path = tmp_path / "own.conllu"
    path.write_text("".join(conllu(f"w{i}") for i in range(45)))
    found = read_tagged(path)
    assert (found.name, found.task) == ("own.conllu", "tokens")
    assert [s.tokens[0] for s in found.validation] == ["w18", "w38"]
    assert [s.tokens[0] for s in found.test] == ["w19", "w39"]
    assert len(found.train) == 41
    assert found.train[0].tags == ["NOUN"]


def test_a_folder_of_three_files(tmp_path):
    for name, word in (("x-train.conllu.xz", "a"), ("x-dev.conllu", "b"), ("x-test.conllu", "c")):
        content = conllu(word).encode()
        (tmp_path / name).write_bytes(lzma.compress(content) if name.endswith("xz") else content)
    (tmp_path / "README").write_text("about the files")
    found = read_tagged(tmp_path)
    assert [part[0].tokens for part in (found.train, found.validation, found.test)] == [["a"], ["b"], ["c"]]
    (tmp_path / "more-train.conllu").write_text(conllu("d"))
    with pytest.raises(DataError, match=r"holds train; found more-train\.conllu, x-train\.conllu\.xz"):
        read_tagged(tmp_path)
    (tmp_path / "more-train.conllu").unlink()
    (tmp_path / "x-dev.conllu").rename(tmp_path / "x-held-out.conllu")
    with pytest.raises(DataError, match="holds dev or valid; found none"):
        read_tagged(tmp_path)
    (tmp_path / "valid.txt").write_text("b\tNOUN\n")
    with pytest.raises(DataError, match="some of the files are CoNLL-U and some are not"):
        read_tagged(tmp_path)


@pytest.mark.parametrize("between", ["\t", " "], ids=["tabs", "blanks"])
def test_columns(tmp_path, between):
    path = tmp_path / "own.txt"
    entity = columns(("in", "IN", "O"), ("Ulm", "NNP", "B-loc"), between=between)
    path.write_text(entity * 20)
    found = read_tagged(path)
    assert found.task == "entities"
    assert found.train[0] == (["in", "Ulm"], ["O", "B-loc"], None)
    assert read_tagged(path, "chunks").task == "chunks"
    assert read_tagged(path, "tokens").task == "tokens"
    path.write_text(entity * 20 + columns(("a", "DT", "other"), between=between))
    assert read_tagged(path).task == "tokens"
    with pytest.raises(DataError, match=r"own\.txt: line 61: the tag is 'other'; expected O, B-kind"):
        read_tagged(path, "entities")


@pytest.mark.parametrize("name", ["own.conllu", "own.txt"])
def test_words_to_find(tmp_path, name):
    path = tmp_path / name
    one = conllu("我", "喜欢") if name.endswith("conllu") else columns(("我", "x"), ("喜欢", "y"))
    path.write_text(one * 20)
    found = read_tagged(path, "segmentation")
    assert found.task == "segmentation"
    assert found.train[0] == (["我", "喜", "欢"], ["S", "B", "E"], None)


def test_errors(tmp_path):
    path = tmp_path / "own.txt"
    with pytest.raises(DataNotFoundError, match="there is no such file or folder"):
        read_tagged(path)
    with pytest.raises(ValueError, match="task is 'words', expected one of tokens, segmentation"):
        read_tagged(path, "words")
    path.write_text("a\tX\n\n" * 19)
    with pytest.raises(DataError, match="19 sentences; expected at least 20"):
        read_tagged(path)
    path.write_text("\n\nalone\n")
    with pytest.raises(DataError, match="the first line has one column; expected a token and its tag"):
        read_tagged(path)
    path.write_text("")
    with pytest.raises(DataError, match=r"own\.txt"):
        read_tagged(path)
    path.write_text("a\tX\n\n" * 30 + "b\n")
    with pytest.raises(DataError, match=r"own\.txt: line 61: 1 columns; expected 2"):
        read_tagged(path)
    path.write_text("a\tX\n\n" * 30 + "b\t\n")
    with pytest.raises(DataError, match=r"own\.txt: line 61: the tag is empty"):
        read_tagged(path)
    words = tmp_path / "own.conllu"
    for tag in ("_", "", " "):
        words.write_text(conllu("a") * 20 + conllu("b", tag=tag))
        with pytest.raises(DataError, match=r"own\.conllu: line 41: word 'b' has no part of speech"):
            read_tagged(words)
        assert read_tagged(words, "segmentation").train  # needs none
    words.write_text(conllu("a") * 20 + conllu(" ", tag="X"))
    with pytest.raises(DataError, match=r"own\.conllu: line 41: the form is ' '"):
        read_tagged(words, "segmentation")
    with pytest.raises(DataError, match="task is entities, expected tokens or segmentation"):
        read_tagged(words, "entities")


def test_words_with_their_tags(tmp_path):
    path = tmp_path / "own.conllu"
    path.write_text(conllu("天气", "好", tag="X") * 20)
    found = read_tagged(path, "segmentation", joint=True)
    assert found.train[0] == (["天", "气", "好"], ["B-X", "E-X", "S-X"], None)
    columns_path = tmp_path / "own.txt"
    columns_path.write_text(columns(("天气", "n"), ("好", "a")) * 20)
    assert read_tagged(columns_path, "segmentation", joint=True).test[0].tags == ["B-n", "E-n", "S-a"]
    assert read_tagged(columns_path, "segmentation").test[0].tags == ["B", "E", "S"]
    path.write_text(conllu("天气", "好", tag="_") * 20)
    with pytest.raises(DataError, match=r"own\.conllu: line 1: word '天气' has no part of speech"):
        read_tagged(path, "segmentation", joint=True)
    with pytest.raises(ValueError, match="joint is true, but task is 'tokens', expected 'segmentation'"):
        read_tagged(path, "tokens", joint=True)
