"""``dlkit train NAME``: one command per recipe, made from the recipe's settings."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape

from dlkit.recipes import folders
from dlkit.recipes.recipe import Recipe, Result
from dlkit.recipes.registry import recipes
from dlkit.recipes.settings import Limits, SettingsError

from .console import output, pairs
from .errors import Stopped

app = typer.Typer(help="Train a model.", no_args_is_help=True)


def start(
    recipe: Recipe,
    given: dict[str, Any],
    *,
    run_dir: Path | None,
    resume: bool,
    overwrite: bool,
    progress: bool,
    threads: int | None,
    device: str | None = None,
) -> Result:
    """Run a recipe as the command line asks for, and print what it came to."""
    from dlkit import kernels
    from dlkit.train import Interrupted

    if resume:
        if run_dir is None:
            raise SettingsError("--resume needs --run-dir, the folder of the run to go on with")
        given, threads, device = _resumed(recipe, given, run_dir, threads, device)
    settings = recipe.settings(**given)
    if threads is not None:
        if not 1 <= threads <= 1024:
            raise SettingsError(f"threads is {threads}, expected an integer from 1 to 1024")
        kernels.set_num_threads(threads)
    folder = run_dir if run_dir is not None else folders.new_folder(recipe.name, settings)
    try:
        result = recipe.run(
            run_dir=folder,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
            device=device or "cpu",
            **given,
        )
    except Interrupted as stop:
        raise Stopped(f"{stop.args[0]}\nresume with: {resume_command(recipe, folder)}") from stop
    show(recipe, result)
    return result


def resume_command(recipe: Recipe, folder: Path) -> str:
    """The command that goes on with an interrupted run."""
    return shlex.join(["dlkit", "train", recipe.name, "--run-dir", str(folder), "--resume"])


def show(recipe: Recipe, result: Result) -> None:
    """Print a result: what it came to, and what is in the run folder."""
    console = output()
    console.print(f"\n[bold]{escape(recipe.summary)}[/]")
    pairs(result.lines)
    console.print(f"\n[bold]run folder[/] {escape(str(result.folder))}")
    pairs(folders.contents(result.folder))
    if (result.folder / "model.json").is_file():
        asked = escape(f"{shlex.quote(str(result.folder))} {recipe.asked}")
        console.print(f"\n[dim]next:[/] dlkit predict {asked}")
    sys.stdout.flush()


def _resumed(
    recipe: Recipe, given: dict[str, Any], folder: Path, threads: int | None, device: str | None
) -> tuple[dict[str, Any], int | None, str | None]:
    """The settings of the run in the folder, with those given now over them, its threads and its device."""
    made_by, stored = folders.stored_settings(folder)
    if made_by != recipe.name:
        raise SettingsError(f"run folder {folder} was made by `dlkit train {made_by}`, not by {recipe.name}")
    before = stored.pop("threads", None)
    if threads is None and isinstance(before, int) and 1 <= before <= 1024:
        threads = before
    where = stored.pop("device", None)
    if device is None and isinstance(where, str):
        device = where
    return {**stored, **given}, threads, device


def _command(recipe: Recipe) -> Callable[..., None]:
    """The function behind ``dlkit train NAME``, with an option for every setting."""

    def command(**values: Any) -> None:
        run_dir, resume, overwrite = values.pop("run_dir"), values.pop("resume"), values.pop("overwrite")
        no_progress, threads = values.pop("no_progress"), values.pop("threads")
        device = values.pop("device")
        given = {name: value for name, value in values.items() if value is not None}
        start(
            recipe,
            given,
            run_dir=run_dir,
            resume=resume,
            overwrite=overwrite,
            progress=not no_progress,
            threads=threads,
            device=device,
        )

    parameters = [
        _parameter(recipe, name, limits, recipe.settings_type.kinds()[name])
        for name, limits in recipe.settings_type.options().items()
    ]
    parameters.sort(key=lambda p: ("Data", "Model", "Training", "Run").index(p.default.rich_help_panel))
    parameters += [
        _fixed(
            "device",
            str | None,
            None,
            "Where to compute: cpu, cuda, cuda:1, or simt (an emulated GPU, slow). Default: cpu.",
            "NAME",
        ),
        _fixed(
            "threads", int | None, None, "Threads of the kernels. Default: all that may be used.", "INTEGER"
        ),
        _fixed(
            "run_dir", Path | None, None, f"Run folder. Default: a new one, runs/{recipe.name}-…", "FOLDER"
        ),
        _fixed("resume", bool, False, "Go on with the run in --run-dir, with its settings."),
        _fixed("overwrite", bool, False, "Remove what an earlier run left in --run-dir first."),
        _fixed("no_progress", bool, False, "No progress bar."),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = _help(recipe)
    return command


def _help(recipe: Recipe) -> str:
    text = recipe.summary + "."
    if recipe.datasets:
        reach = ", ".join(f"{data}: {target.text}" for data, target in recipe.targets.items())
        return f"{text}\n\nMust reach: {reach}."
    return text


def _parameter(recipe: Recipe, name: str, limits: Limits, kind: Any) -> inspect.Parameter:
    help_text = limits.help
    if limits.choices:
        help_text += f" One of {', '.join(limits.choices)}."
    help_text += f" Default: {_shown_default(recipe, name)}."
    flag = "--" + name.replace("_", "-")
    choices = list(limits.choices)
    # Text, not numbers, so that a wrong value gets the setting's own message; booleans become a pair of
    # flags.
    annotation: Any = bool | None if kind is bool else str | None
    declarations = [f"{flag}/--no-{flag[2:]}"] if kind is bool else [flag]
    default = typer.Option(
        None,
        *declarations,
        help=help_text,
        metavar=None if kind is bool else _metavar(kind, limits),
        show_default=False,
        rich_help_panel=limits.group,
        autocompletion=(lambda: choices) if choices else None,
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _fixed(
    name: str, annotation: Any, default: Any, help: str, metavar: str | None = None
) -> inspect.Parameter:
    flag = "--" + name.replace("_", "-")
    option = typer.Option(
        default, flag, help=help, metavar=metavar, show_default=False, rich_help_panel="Run"
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=annotation)


def _metavar(kind: Any, limits: Limits) -> str:
    if limits.choices:
        return "NAME"
    if kind is int:
        return "INTEGER"
    if "str" in str(kind):
        return "TEXT"
    return "N,N,…" if "tuple" in str(kind) else "NUMBER"


def _shown_default(recipe: Recipe, name: str) -> str:
    """The default, or the defaults by data set where they differ."""
    if not recipe.datasets:
        return _text(getattr(recipe.settings(), name))
    if name == "data":
        return recipe.datasets[0]
    by_value: dict[str, list[str]] = {}
    for data in recipe.datasets:
        by_value.setdefault(_text(getattr(recipe.settings(data=data), name)), []).append(data)
    if len(by_value) == 1:
        return next(iter(by_value))
    return "; ".join(f"{value} for {', '.join(names)}" for value, names in by_value.items())


def _text(value: Any) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


for _recipe in recipes():
    app.command(_recipe.name)(_command(_recipe))
