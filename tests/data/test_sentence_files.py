import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.data import DataError
from dlkit.data.sentence_files import Phrase, read_questions, read_sentences, read_trees


def test_sentences():
    assert read_sentences(b"one \n\n  two\xe9\n", "f") == ["one", "two\xe9"]
    with pytest.raises(DataError, match="f holds no sentence"):
        read_sentences(b"\n \n", "f")
    with pytest.raises(DataError, match="f: line 1 has 70000 characters"):
        read_sentences(b"x" * 70000, "f")


def test_questions():
    assert read_questions(b"DESC:manner How ?\nNUM:dist How far ?\n", "f") == [
        ("DESC", "How ?"),
        ("NUM", "How far ?"),
    ]


@pytest.mark.parametrize("line", [b"DESC How ?", b"DESC: How ?", b"DESC:manner", b"DESC:manner  "])
def test_wrong_questions(line):
    with pytest.raises(DataError, match=r"f: line 2 is .*expected a class"):
        read_questions(b"NUM:dist How far ?\n" + line, "f")
    with pytest.raises(DataError, match="f: line 1: class is 'WHAT', expected one of ABBR"):
        read_questions(b"WHAT:x y", "f")


def test_trees():
    assert read_trees(b"(3 (2 A) (4 (2 good) (2 film)))\n(1 (0 bad))\n", "f") == [
        [
            Phrase(3, ("A", "good", "film")),
            Phrase(2, ("A",)),
            Phrase(4, ("good", "film")),
            Phrase(2, ("good",)),
            Phrase(2, ("film",)),
        ],
        [Phrase(1, ("bad",)), Phrase(0, ("bad",))],
    ]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"(5 a)", "column 2 is '5'"),
        (b"(2a)", "column 2 is '2'"),
        (b"(2 a", "cut short"),
        (b"(2 a))", r"column 6: '\)' without"),
        (b"(2 a) (2 b)", "a second tree"),
        (b"(2 )", "a node without a word"),
        (b"a", "'a' is no leaf"),
        (b"(2 a b)", "'b' is no leaf"),
        (b"(2 a (2 b))", "a node beside a word"),
        (b"(2 (2 b) a)", "'a' is no leaf"),
        (b"(2 " * 5000, "more than 1000 levels"),
    ],
)
def test_no_trees(line, text):
    with pytest.raises(DataError, match=f"f: line 2.*{text}"):
        read_trees(b"(2 fine)\n" + line, "f")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content):
    for reader in (read_sentences, read_questions, read_trees):
        try:
            reader(content, "f")
        except DataError:
            continue


@given(st.text("(2 a)3", max_size=40))
def test_anything_like_a_tree_is_read_or_refused(text):
    try:
        trees = read_trees(text.encode(), "f")
    except DataError:
        return
    assert all(phrase.words for tree in trees for phrase in tree)
