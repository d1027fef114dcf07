"""CoNLL-U files, whole and corrupt."""

from __future__ import annotations

import pytest

from dlkit.data import DataError
from dlkit.data.conllu import read_conllu


def word(number, form, upos="NOUN"):
    return "\t".join([str(number), form, "_", upos, "_", "_", "0", "root", "_", "_"])


GOOD = "\n".join(
    [
        "# sent_id = 1",
        "# text = Don't go",
        word("1-2", "Don't", "_"),
        word(1, "Do", "AUX"),
        word(2, "n't", "PART"),
        word("2.1", "you", "PRON"),
        word(3, "go", "VERB"),
        "",
        word(1, "Yes", "INTJ"),
        word("1.1", "sir"),
        "",
        "",
    ]
)


def test_words_tokens_and_what_is_not_written():
    first, second = read_conllu(GOOD.encode(), "a.conllu")
    assert first.words == ["Do", "n't", "go"]
    assert first.upos == ["AUX", "PART", "VERB"]
    assert first.tokens == ["Don't", "go"]
    assert first.comments == ["sent_id = 1", "text = Don't go"]
    assert second.words == second.tokens == ["Yes"]


def test_windows_line_ends_and_no_empty_line_at_the_end():
    text = GOOD.rstrip("\n").replace("\n", "\r\n")
    assert [s.words for s in read_conllu(text.encode(), "a")] == [["Do", "n't", "go"], ["Yes"]]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["1\tHello\t_"], "line 1: 3 columns; expected 10"),
        ([word(1, "a"), word(3, "b")], "line 2: number 3 follows word 1; expected 2"),
        ([word("x", "a")], "line 1: the number is 'x'"),
        ([word("1-", "a")], "line 1: the number is '1-'"),
        ([word("١", "a")], "line 1: the number is"),
        ([word(1, "")], "line 1: the form is empty"),
        ([word(1, "a"), word(2, " ")], "line 2: the form is ' '; expected a word"),
        ([word("1-2", " "), word(1, "a"), word(2, "b")], "line 1: the form is ' '"),
        ([word("2-1", "a")], "line 1: number 2-1 follows word 0"),
        ([word("1-1", "a")], "line 1: the token's words are 1-1"),
        ([word("1-999999999", "a")], "at most a thousand"),
        ([word("1-3", "a"), word(1, "a"), word("2-3", "b")], "line 3: the token's words are 2-3"),
        ([word("1-2", "a"), word(1, "a"), ""], "line 3: the sentence ends before word 2"),
        ([word("1-2", "a"), word(1, "a")], "the file ends before word 2"),
        ([word(1, "a"), word("2.1", "b")], "line 2: word 2.1 is not written and follows word 1"),
        ([word(1, "a"), "# text = late"], "line 2: a comment within a sentence"),
        (["# text = nothing", ""], "line 2: the sentence has comments but no words"),
        (["# text = nothing"], "the file ends after the comments"),
    ],
)
def test_corrupt_lines_are_named(lines, text):
    with pytest.raises(DataError, match=text):
        read_conllu("\n".join([*lines, ""]).encode(), "a.conllu")


@pytest.mark.parametrize("upos", ["", " ", "_"])
def test_words_without_a_part_of_speech_are_named_where_they_need_one(upos):
    content = "\n".join([word("1-2", "Don't", "_"), word(1, "Do", "AUX"), word(2, "n't", upos), ""]).encode()
    expected = (
        rf"a\.conllu: line 3: word \"n't\" has no part of speech: it is '{upos}'; expected one such as NOUN"
    )
    with pytest.raises(DataError, match=expected):
        read_conllu(content, "a.conllu", tagged=True)
    assert read_conllu(content, "a.conllu")[0].upos == ["AUX", upos]
    good = read_conllu(GOOD.encode(), "a.conllu", tagged=True)
    assert good == read_conllu(GOOD.encode(), "a.conllu")  # tokens of several words need none


def test_bytes_that_are_no_text():
    with pytest.raises(DataError, match=r"a\.conllu: line 2 is not utf-8"):
        read_conllu(word(1, "a").encode() + b"\n\xff\xfe\n", "a.conllu")
    with pytest.raises(DataError, match="line 1 holds a zero byte"):
        read_conllu(b"1\t\0", "a.conllu")


def test_empty_file():
    assert read_conllu(b"", "a") == read_conllu(b"\n\n", "a") == []


def test_agrees_with_the_package_conllu(data_folder):
    conllu = pytest.importorskip("conllu", reason="the package conllu is not installed")
    from dlkit.data.text_file import read_bytes

    content = read_bytes(data_folder / "ud_english_ewt" / "en_ewt-ud-dev.conllu.xz")
    theirs = conllu.parse(content.decode())
    mine = read_conllu(content, "dev")
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        kept = [token for token in b if isinstance(token["id"], int)]
        assert a.words == [token["form"] for token in kept]
        assert a.upos == [token["upos"] for token in kept]
