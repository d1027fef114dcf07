"""``dlkit similar``, ``dlkit analogy``, ``dlkit map``, ``dlkit evaluate``: ask word vectors, and test them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import errors, output, pairs, print_json

if TYPE_CHECKING:
    from dlkit.models import Correlation, KeyedVectors

_SOURCE = typer.Argument(
    metavar="RUN_OR_FILE",
    help="Run folder with word vectors, or a file: word2vec (text or binary), fastText .vec, GloVe .txt, .npz, "
    ".safetensors.",
    show_default=False,
)
_TOPN = typer.Option("--topn", min=1, help="How many.")
_RESTRICT = typer.Option(
    "--restrict-vocab", min=1, metavar="N", help="Only the first N words, the most frequent, are known."
)
_JSON = typer.Option("--json", help="Print JSON for other programs.")


def similar(
    source: Annotated[Path, _SOURCE],
    words: Annotated[
        list[str], typer.Argument(metavar="WORD...", help="One word or several.", show_default=False)
    ],
    topn: Annotated[int, _TOPN] = 10,
    restrict_vocab: Annotated[int | None, _RESTRICT] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Find the words nearest to a word, by the cosine of their vectors; to several, nearest to their sum."""
    vectors = _load(source)
    found = vectors.most_similar(positive=list(words), topn=topn, restrict_vocab=restrict_vocab)
    _show(found, "cosine", as_json)


def analogy(
    source: Annotated[Path, _SOURCE],
    word: Annotated[str, typer.Argument(help="king", show_default=False)],
    minus: Annotated[str, typer.Argument(help="man", show_default=False)],
    plus: Annotated[str, typer.Argument(help="woman", show_default=False)],
    mul: Annotated[
        bool, typer.Option("--mul", help="3CosMul: a product of similarities in place of a sum.")
    ] = False,
    topn: Annotated[int, _TOPN] = 10,
    restrict_vocab: Annotated[int | None, _RESTRICT] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Find what is to the third word as the first is to the second: king - man + woman."""
    vectors = _load(source)
    ask = vectors.most_similar_cosmul if mul else vectors.most_similar
    found = ask(positive=[word, plus], negative=[minus], topn=topn, restrict_vocab=restrict_vocab)
    _show(found, "score" if mul else "cosine", as_json)


def draw_map(
    source: Annotated[Path, _SOURCE],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORD...]", help="These words only.", show_default="the most frequent"),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", min=1, metavar="N", help="Where no words are given: so many.")
    ] = 1000,
    near: Annotated[
        int, typer.Option("--near", min=0, metavar="N", help="Of each word given, its N nearest, too.")
    ] = 0,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="[auto|pca|tsne]",
            help="Principal components, or t-SNE, which keeps near words near; auto: t-SNE for 50 words or more.",
        ),
    ] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where map.png and map.html go.",
            show_default="the run folder, or here",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Of t-SNE.")] = 0,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Lay words out in the plane: a picture, and a page to zoom, hover and search in."""
    from dlkit.models.embedding_map import METHODS
    from dlkit.train import draw_embedding_map, write_embedding_page

    if method not in METHODS:
        raise typer.BadParameter(f"--method is {method!r}, expected one of {', '.join(METHODS)}")
    if out is not None and out.exists() and not out.is_dir():
        raise typer.BadParameter(f"--out: {out} is a file, expected a folder")
    vectors = _load(source)
    points = vectors.map(words or None, topn=top, near=near, method=method, seed=seed)
    folder = out if out is not None else source if source.is_dir() else Path()
    folder.mkdir(parents=True, exist_ok=True)
    title = f"Words of {source.resolve().name}"
    files = [
        draw_embedding_map(points, folder / "map.png", title=title),
        write_embedding_page(points, folder / "map.html", title=title),
    ]
    if as_json:
        print_json(
            {
                "words": len(points),
                "method": method,
                "explained": points.explained,
                "files": [str(file) for file in files],
            }
        )
        return
    pairs(
        [
            ("map", f"{len(points):,} of {len(vectors):,} words, by {points.how}"),
            ("picture", str(files[0])),
            ("page", f"{files[1]} (open it in a browser)"),
        ]
    )


def evaluate(
    source: Annotated[Path, _SOURCE],
    analogies: Annotated[
        Path | None,
        typer.Option(
            help="Questions of four words in sections, as questions-words.txt; .xz or .gz, too.",
            show_default="questions-words.txt in DLKIT_DATA",
        ),
    ] = None,
    pairs: Annotated[
        list[Path] | None,
        typer.Option(
            help="Pairs of words and how alike they are, separated by tabs; more than once for several files.",
            show_default="WordSim-353 and SimLex-999 in DLKIT_DATA",
        ),
    ] = None,
    mul: Annotated[bool, typer.Option("--mul", help="Answer analogies by 3CosMul.")] = False,
    restrict_vocab: Annotated[int, _RESTRICT] = 300_000,
    case_sensitive: Annotated[
        bool, typer.Option("--case-sensitive", help="Whether The and the are two words.")
    ] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Test word vectors: analogies by section, and how far cosines agree with people's judgement."""
    if analogies is None and not pairs:
        analogies, pairs = _default_files()
    vectors = _load(source)
    report: dict[str, Any] = {"words": len(vectors), "dimensions": vectors.vector_size}
    if analogies is not None:
        score, sections = vectors.evaluate_word_analogies(
            analogies,
            restrict_vocab=restrict_vocab,
            case_insensitive=not case_sensitive,
            similarity_function="most_similar_cosmul" if mul else "most_similar",
        )
        report["analogies"] = {
            "file": str(analogies),
            "method": "3CosMul" if mul else "3CosAdd",
            "score": score,
            "sections": [
                {
                    "section": each["section"],
                    "correct": len(each["correct"]),
                    "asked": len(each["correct"]) + len(each["incorrect"]),
                }
                for each in sections
            ],
        }
    report["pairs"] = []
    for path in pairs or []:
        pearson, spearman, unknown = vectors.evaluate_word_pairs(
            path, restrict_vocab=restrict_vocab, case_insensitive=not case_sensitive
        )
        report["pairs"].append(
            {
                "file": str(path),
                "spearman": _finite(spearman),
                "pearson": _finite(pearson),
                "percent_unknown": unknown,
            }
        )
    if as_json:
        print_json(report)
        return
    console = output()
    console.print(f"{len(vectors)} words of {vectors.vector_size} dimensions", markup=False, highlight=False)
    if analogies is not None:
        table = report["analogies"]["sections"]
        width = max(len(each["section"]) for each in table)
        console.print(f"\n[dim]{'analogies, ' + report['analogies']['method']:<{width}}   right  asked[/]")
        for each in table:
            share = f"{each['correct'] / each['asked']:7.1%}" if each["asked"] else "      –"
            console.print(
                f"{each['section']:<{width}} {share}  {each['asked']:>5}", markup=False, highlight=False
            )
    if report["pairs"]:
        width = max(len(Path(each["file"]).name) for each in report["pairs"])
        console.print(f"\n[dim]{'pairs':<{width}}  Spearman  Pearson  unknown[/]")
        for each in report["pairs"]:
            rho, r = ("–" if each[key] is None else f"{each[key]:.3f}" for key in ("spearman", "pearson"))
            console.print(
                f"{Path(each['file']).name:<{width}}  {rho:>8}  {r:>7}  {each['percent_unknown']:6.1f}%",
                markup=False,
                highlight=False,
            )


def _load(source: Path) -> KeyedVectors:
    from dlkit.models import KeyedVectors

    return KeyedVectors.load(source)


def _show(found: list[tuple[str, float]], what: str, as_json: bool) -> None:
    if as_json:
        print_json([{"word": word, what: score} for word, score in found])
        return
    console = output()
    if not found:
        errors().print("there are no other words", style="dim")
        return
    width = max(len("word"), *(len(word) for word, _ in found))
    console.print(f"[dim]{'word':<{width}}  {what}[/]")
    for word, score in found:
        console.print(f"{word:<{width}}  {score:.4f}", markup=False, highlight=False, soft_wrap=True)


def _default_files() -> tuple[Path | None, list[Path]]:
    """The files of ``DLKIT_DATA``, as far as they are there."""
    from dlkit.data import DataNotFoundError
    from dlkit.data.fetch import data_folder

    root = data_folder()
    found = []
    for name in ("questions-words.txt", "wordsim353.tsv", "simlex999.txt"):
        places = [] if root is None else [root / "analogy" / (name + ending) for ending in ("", ".xz", ".gz")]
        found.append(next((place for place in places if place.is_file()), None))
    if not any(found):
        where = "DLKIT_DATA is not set" if root is None else f"{root}/analogy has none of its own"
        raise DataNotFoundError(
            f"evaluate: {where}; expected --analogies FILE, --pairs FILE, or a folder DLKIT_DATA with "
            "analogy/questions-words.txt, wordsim353.tsv or simlex999.txt"
        )
    return found[0], [path for path in found[1:] if path is not None]


def _finite(correlation: Correlation) -> float | None:
    """For JSON, which has no NaN."""
    return correlation.statistic if math.isfinite(correlation.statistic) else None
