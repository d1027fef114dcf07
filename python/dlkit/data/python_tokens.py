"""Tagged sentences that need no network: what is each token of a line of Python?

The interpreter carries its library as source. Its own tokenizer cuts the text into logical lines, and says what is a
number, a string, an operator; the names are told apart by where they stand: a function's or class's that is being
defined, a parameter, an attribute, a module that is imported, what is called, and all others. So a tagger needs the
neighbours of a word, as for a part of speech. The texts differ a little between versions of Python.
"""

from __future__ import annotations

import importlib.util
import io
import keyword
import tokenize
from pathlib import Path

from .errors import DataNotFoundError
from .tagged_set import TaggedSentence, TaggedSet

_MODULES = (
    *(
        "argparse",
        "ast",
        "bisect",
        "calendar",
        "codecs",
        "configparser",
        "contextlib",
        "copy",
        "csv",
        "dataclasses",
    ),
    *(
        "datetime",
        "difflib",
        "dis",
        "enum",
        "fnmatch",
        "fractions",
        "functools",
        "getopt",
        "glob",
        "gzip",
        "heapq",
    ),
    *(
        "inspect",
        "ipaddress",
        "locale",
        "mailbox",
        "numbers",
        "operator",
        "pathlib",
        "pickle",
        "platform",
        "pprint",
    ),
    *(
        "queue",
        "random",
        "reprlib",
        "sched",
        "shelve",
        "shlex",
        "shutil",
        "statistics",
        "string",
        "subprocess",
    ),
    *("tarfile", "tempfile", "textwrap", "timeit", "trace", "types", "typing", "uuid", "weakref", "zipfile"),
)
_SKIPPED = frozenset(
    (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER)
)
_LONGEST = 60  # tokens of a line; longer ones are tables
_OPEN, _CLOSE = "([{", ")]}"


def load_python_tokens() -> TaggedSet:
    """Load the interpreter's library as tagged lines: of ten different ones the ninth is for validation, the tenth for
    the test.

    Raises
    ------
    DataNotFoundError
        This Python comes without sources.
    """
    parts: list[list[TaggedSentence]] = [[], [], []]
    seen: set[tuple[str, ...]] = set()
    for module in _MODULES:
        for tokens, tags in tagged_lines(_source(module)):
            if not 3 <= len(tokens) <= _LONGEST or tuple(tokens) in seen:
                continue
            parts[max(len(seen) % 10 - 7, 0)].append(TaggedSentence(tokens, tags))
            seen.add(tuple(tokens))
    if len(seen) < 1000:
        raise DataNotFoundError("python: this Python comes without the sources of its library")
    return TaggedSet("python", "tokens", parts[0], parts[1], parts[2], "the interpreter's own library")


def tagged_lines(source: str) -> list[tuple[list[str], list[str]]]:
    """Cut a program into its logical lines: of each the tokens and their tags. Comments are left out.

    Examples
    --------
    >>> tagged_lines("x = f(a.b, 1)")
    [(['x', '=', 'f', '(', 'a', '.', 'b', ',', '1', ')'], ['name', 'operator', 'call', 'operator', 'name', 'operator', \
'attribute', 'operator', 'number', 'operator'])]
    """
    lines: list[tuple[list[str], list[str]]] = []
    line: list[tuple[int, str]] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NEWLINE:
                if line:
                    lines.append(([text for _, text in line], _tags(line)))
                line = []
            elif token.type not in _SKIPPED and token.string.strip():
                text = token.string
                # Of a text over several lines the first says enough.
                line.append((token.type, text.split("\n", 1)[0].strip() or text[:1]))
    except (tokenize.TokenError, SyntaxError):
        return lines  # what came before is good
    return lines


def _tags(line: list[tuple[int, str]]) -> list[str]:
    texts = [text for _, text in line]
    defines = "def" in texts[:2]
    imports = texts[0] in ("import", "from")
    depth = 0
    tags = []
    for at, (kind, text) in enumerate(line):
        before = texts[at - 1] if at else ""
        after = texts[at + 1] if at + 1 < len(texts) else ""
        if kind == tokenize.NUMBER:
            tag = "number"
        elif kind == tokenize.NAME:
            tag = _name_tag(text, before, after, defines and depth == 1, imports)
        elif kind == tokenize.OP:
            tag = "operator"
            depth += (text in _OPEN) - (text in _CLOSE)
        else:
            tag = "string"
        tags.append(tag)
    return tags


def _name_tag(text: str, before: str, after: str, in_parameters: bool, imports: bool) -> str:
    if keyword.iskeyword(text):
        return "keyword"
    if before in ("def", "class"):
        return "function" if before == "def" else "class"
    if imports:
        return "module"
    if before == ".":
        return "method" if after == "(" else "attribute"
    if in_parameters and before in ("(", ",", "*", "**"):
        return "parameter"
    return "call" if after == "(" else "name"


def _source(module: str) -> str:
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return ""
    if found is None or not found.origin or not found.origin.endswith(".py"):
        return ""
    try:
        with tokenize.open(Path(found.origin)) as file:
            return file.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ""
