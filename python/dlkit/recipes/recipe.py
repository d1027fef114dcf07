"""What a recipe is, and what running one gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from dlkit.kernels.backend import resolve_device
from dlkit.train import RunFolder

from .settings import Settings, SettingsError, nearest


@dataclass(frozen=True)
class Target:
    """What a recipe must reach with its defaults.

    Attributes
    ----------
    text
        In words, as ``dlkit list`` shows it.
    metric
        A key of `Result.metrics`.
    at_least, at_most
        Between which values it must be.
    """

    text: str
    metric: str
    at_least: float = -inf
    at_most: float = inf

    def reached(self, metrics: Mapping[str, Any]) -> bool:
        """Whether the metrics reach it."""
        value = metrics.get(self.metric)
        return value is not None and self.at_least <= float(value) <= self.at_most


@dataclass(frozen=True)
class RunOptions:
    """How to run a recipe: what changes nothing in its result.

    Attributes
    ----------
    folder
        The run folder; None: a new one under ``runs/``, named for recipe, data and time.
    resume
        Go on with the run in `folder`.
    overwrite
        Remove what an earlier run left in `folder` first.
    progress
        Show a progress bar.
    device
        Where to compute: ``cpu``, ``cuda:0``, ``simt``. Changes rounding alone.
    """

    folder: Path | None = None
    resume: bool = False
    overwrite: bool = False
    progress: bool = True
    device: str = "cpu"


@dataclass
class Result:
    """What a run came to.

    Attributes
    ----------
    recipe
        Name of the recipe.
    folder
        The run folder.
    metrics
        Numbers by name, such as ``test_accuracy``; also in the folder's ``result.json``.
    lines
        The same for a reader: pairs of what and how much, most important first.
    target
        What the recipe must reach on this data, or None.
    """

    recipe: str
    folder: Path
    metrics: dict[str, Any]
    lines: list[tuple[str, str]] = field(default_factory=list)
    target: Target | None = None


@dataclass(frozen=True)
class Recipe:
    """Data, model, settings, and what they must reach, under one name.

    Attributes
    ----------
    name
        As in ``dlkit train NAME``.
    summary
        One line.
    settings_type
        The dataclass of its settings.
    train
        Runs it.
    datasets
        The data sets that it can be trained on; empty: it brings its own.
    presets
        Per data set, the settings whose defaults differ from those of `settings_type`; the key "corpus" is for data of
        one's own, where a recipe has a setting of that name (without that key: as for the data set).
    styles
        Further presets by name, for recipes with a setting ``preset``; each per data set, the key "" for all. What they
        say goes before `presets`.
    targets
        What it must reach with its defaults, per data set (the key "" where there are no data sets).
    asked
        What ``dlkit predict RUN`` is given, as one types it.
    """

    name: str
    summary: str
    settings_type: type[Settings]
    train: Callable[[Any, RunOptions], Result]
    datasets: tuple[str, ...] = ()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    targets: Mapping[str, Target] = field(default_factory=dict)
    styles: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    asked: str = "FILE"

    def settings(self, **given: Any) -> Settings:
        """The recipe's settings: its defaults for the data set, and what is given.

        Raises
        ------
        SettingsError
            A name is unknown, or a value is none that the recipe accepts.
        """
        try:
            preset: Mapping[str, Any] = {}
            if self.datasets:
                data = given.get("data", self.datasets[0])
                if data not in self.datasets:
                    raise SettingsError(
                        f"data is {data!r}, expected one of {', '.join(self.datasets)}"
                        f"{nearest(data, self.datasets)}"
                    )
                style = self.styles.get(given.get("preset", ""), {})
                own = given.get("corpus") is not None and "corpus" in self.presets
                preset = {
                    **self.presets.get("corpus" if own else data, {}),
                    **style.get("", {}),
                    **style.get(data, {}),
                }
            return self.settings_type.make({**preset, **given})
        except SettingsError as error:
            raise SettingsError(f"{self.name}: {error}") from None

    def run(
        self,
        *,
        run_dir: str | Path | None = None,
        resume: bool = False,
        overwrite: bool = False,
        progress: bool = True,
        device: str = "cpu",
        **given: Any,
    ) -> Result:
        """Train with the defaults and the settings given.

        Parameters
        ----------
        run_dir
            The run folder; None: a new one under ``runs/``.
        resume
            Go on with the run in `run_dir`.
        overwrite
            Remove what an earlier run left in `run_dir` first.
        progress
            Show a progress bar.
        device
            Where to compute: ``cpu``, ``cuda``, ``cuda:1``, or ``simt``, an emulated GPU, for small models.
        **given
            Settings that differ from the defaults.

        Raises
        ------
        SettingsError
            A setting is wrong.
        dlkit.kernels.DeviceUnavailableError
            The device is not there.
        dlkit.train.RunFolderError, dlkit.train.TrainError, dlkit.data.DataError
            As their rooms say.
        """
        if not resume and "data" in given and given.get("corpus") is not None:
            raise SettingsError(f"{self.name}: data and corpus are both given, expected one of them at most")
        settings = self.settings(**given)
        folder = Path(run_dir) if run_dir is not None else None
        if resume and folder is None:
            raise SettingsError(f"{self.name}: resume needs run_dir, the folder of the run to go on with")
        if resume and overwrite:
            raise SettingsError(
                f"{self.name}: resume and overwrite are both given, expected one of them at most"
            )
        try:
            there = resolve_device(device, self.name)
        except (TypeError, ValueError) as error:
            raise SettingsError(str(error)) from None
        options = RunOptions(folder, resume, overwrite, progress, there)
        if folder is None or (folder.is_dir() and any(folder.iterdir())):
            return self.train(settings, options)
        was_there = folder.exists()
        try:
            return self.train(settings, options)
        except Exception:
            # So that the same command, mended, needs no --overwrite.
            RunFolder.forget_unstarted(folder, keep_folder=was_there)
            raise

    def target(self, data: str = "") -> Target | None:
        """What it must reach on a data set."""
        return self.targets.get(data)
