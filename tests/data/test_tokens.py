import pytest

from dlkit.data.tokens import treebank_words, words_of


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("It isn't bad -- it's good!", "it is n't bad it 's good !"),
        ("we've, they're; you'd (I'll)", "we 've , they 're you 'd ( i 'll )"),
        ("what ?! 3.5 café", "what ? ! 3 5 caf"),
        ("", ""),
        ("... --- ;", ""),
        ("a\tb\nc\x85d", "a b c d"),
    ],
)
def test_rules(sentence, words):
    assert words_of(sentence) == words.split()


def test_case_may_stay():
    assert words_of("What is NASA ?", lower=False) == ["What", "is", "NASA", "?"]


def test_a_treebank_is_cut_already():
    assert treebank_words("It 's a film , too-tepid .") == ["it", "'s", "a", "film", ",", "too", "tepid"]
