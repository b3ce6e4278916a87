"""What the cells of one split share: the steps before the training, done once, their cost kept."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.bench.cell import digest
from regraft.data.manifest import read_manifest
from regraft.recipe import Recipe
from regraft.steps.detect_shift import detect_shift_between_splits
from regraft.steps.extract_features import extract_features
from regraft.steps.hardware import use_threads
from regraft.steps.validate_data import validate_data
from regraft.tasks import task_module
from regraft.training.probe import augmented_views


class Prepared:
    """One recipe, the folders of its first steps, and the CPU seconds of every step so far.

    Attributes
    ----------
    own : a folder for what this measurement alone needs.
    cpu : {step: CPU seconds, user and system, child processes included}. A step whose result was
        found costs what it cost when it was done.
    """

    def __init__(self, recipe: Recipe, shared: Path, own: Path) -> None:
        self.recipe, self.own = recipe, own
        self.values = recipe.model_dump(mode="json")
        self.module = task_module(recipe.task)
        self.cpu: dict[str, float] = {}
        self._shared = shared
        use_threads(recipe.finetune.threads)

    @property
    def domains(self) -> dict[str, str]:
        """The words source and target with the names of the domains."""
        data = self.recipe.data
        return {"source": data.source_domain, "target": data.target_domain}

    @cached_property
    def data(self) -> Path:
        """The folder of the data validation."""
        return self._once(
            "data_validation",
            [self.values["data"]],
            lambda out: validate_data(
                task=self.recipe.task, data=self.values["data"], seed=self.recipe.seed, out_dir=out
            ),
        )

    @property
    def manifest(self) -> Path:
        return self.data / "manifest.parquet"

    @cached_property
    def rows(self) -> pd.DataFrame:
        return read_manifest(self.manifest)

    @cached_property
    def features(self) -> Path:
        """The folder of the feature extraction. Features of test photos serve the evaluation alone:
        their CPU seconds are kept apart, as `test_features`."""
        manifest = self.manifest
        sections = {name: self.values[name] for name in ("backbone", "features")}
        folder = self._once(
            "feature_extraction",
            [self.values["data"], sections],
            lambda out: extract_features(
                task=self.recipe.task, manifest=manifest, threads=self.recipe.finetune.threads,
                seed=self.recipe.seed, out_dir=out, **sections,
            ),
        )  # fmt: skip
        tested = json.loads((folder / "cost.json").read_text())["test_cpu_seconds"]
        self.cpu["test_features"] = tested
        self.cpu["feature_extraction"] -= tested
        return folder

    @cached_property
    def shift(self) -> Path:
        """The folder of the shift detection."""
        features = self.features
        return self._once(
            "shift_detection",
            [self.values[name] for name in ("data", "backbone", "features", "shift")],
            lambda out: detect_shift_between_splits(
                manifest=self.manifest, features=features, options=self.values["shift"],
                target_domain=self.recipe.data.target_domain, seed=self.recipe.seed, out_dir=out,
            ),
        )  # fmt: skip

    @cached_property
    def augmented(self) -> np.ndarray | None:
        """Embeddings (training rows, views, dim) of the augmented views that the extraction made
        for its probe and did not keep. Their cost is part of the extraction's."""
        options = self.values["features"]
        train = self.rows[self.rows["split"] == "train"].reset_index(drop=True)
        views = augmented_views(
            len(train), most=options["augmented_views"], budget=options["augmented_budget"]
        )
        if not views:
            return None
        path = self.features / "augmented.npy"
        if not path.is_file():
            rendered = self.module.training_views(
                self.encoder(), train, options["augmentation"], seed=self.recipe.seed
            )
            found = self.module.embeddings_of_views(
                self.encoder(), rendered, list(range(1, views + 1))
            )
            _written(path, found)
        return np.asarray(np.load(path))

    def encoder(self) -> Any:
        """The recipe's encoder, a new one each time."""
        from regraft.backbones.encoder import load_encoder

        return load_encoder(self.features / "backbone")

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Count the CPU seconds inside as this step's."""
        started = cpu_seconds()
        yield
        self.cpu[step] = self.cpu.get(step, 0.0) + cpu_seconds() - started

    def _once(self, step: str, inputs: list[Any], make: Callable[[Path], object]) -> Path:
        folder = self._shared / f"{step}-{digest(self.recipe.seed, inputs)}"
        card = folder / "cpu_seconds.json"
        if not card.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with self.timed(step), _home(self._shared / "home"):
                make(folder)
            card.write_text(json.dumps(self.cpu[step]))
        self.cpu[step] = json.loads(card.read_text())
        return folder


@contextmanager
def _home(folder: Path) -> Iterator[None]:
    """What a step keeps at home while this is open (texts of a table) stays for other cells."""
    own = os.environ.get("REGRAFT_HOME")
    os.environ["REGRAFT_HOME"] = str(folder)
    try:
        yield
    finally:
        if own is None:
            del os.environ["REGRAFT_HOME"]
        else:
            os.environ["REGRAFT_HOME"] = own


def cpu_seconds() -> float:
    """Of this process and of the children it waited for, user and system."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _written(path: Path, array: np.ndarray) -> None:
    partial = path.with_suffix(".partial.npy")
    np.save(partial, array)
    partial.replace(path)
