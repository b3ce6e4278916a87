"""Searching without a model: two pre-trained encoders, aligned on pairs that need no label."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from regraft.data.files import write_arrays
from regraft.data.images import DEFAULT_MAX_PIXELS
from regraft.data.pair_files import PairFile
from regraft.data.pairs import read_pairs, usable
from regraft.errors import UserError
from regraft.progress import note

if TYPE_CHECKING:
    from regraft.training.alignment import Alignment

Sides = Callable[[list[PairFile]], tuple[Any, Any]]
"""Images and texts (n, rank) of pairs in one space; what is missing has any numbers."""
_TASK = "image_text_classification"


def searched_pairs(table: Path, folder: Path) -> pd.DataFrame:
    """The usable pairs of a table; images that were looked at for an earlier search are not opened
    while they have not changed, which `folder` remembers."""
    memory = (
        folder / f"images-{hashlib.sha256(str(table.resolve()).encode()).hexdigest()[:16]}.json"
    )
    return usable(read_pairs(table, max_pixels=DEFAULT_MAX_PIXELS, need_label=False, memory=memory))


def aligned_sides(recipe: str, overrides: Sequence[str], home: Path) -> tuple[Sides, Path]:
    """The encoders of a recipe, aligned on the pairs of its `data.root`, and the folder below
    `home` that belongs to this alignment. It is fitted once; pairs of the split `test` are held
    out, and how often they are found is noted.

    Raises
    ------
    UserError
        A recipe of another task, a table that cannot be read, or fewer than ten images.
    """
    from regraft.backbones.pair_encoder import PairEncoder
    from regraft.recipe.loading import load_recipe
    from regraft.tasks import task_module
    from regraft.training.alignment import Alignment

    options = load_recipe(recipe, list(overrides))
    if options.task != _TASK:
        raise UserError(
            "this recipe has no pairs to search", where=recipe, got=options.task, expected=_TASK
        )
    module = task_module(options.task)
    backbone = options.backbone.model_dump(mode="json")
    encoder: PairEncoder = module.pretrained_encoder(backbone, taps=options.features.taps)
    pairs = searched_pairs(Path(options.data.root), home)
    folder = home / f"{options.name}-{_digest(encoder, pairs)}"
    file = folder / "alignment.npz"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_arrays(file, **asdict(_fitted(module, encoder, pairs)))
    with np.load(file, allow_pickle=False) as arrays:
        alignment = Alignment(**arrays)
    predictor = module.predictor(module.new_model(encoder, ["pair"], test_views=1))

    def sides(values: list[PairFile]) -> tuple[Any, Any]:
        _, rows = predictor.rows_and_embeddings([value.to_bytes() for value in values])
        image, text = np.split(rows, [encoder.parts[0]], axis=1)
        return alignment.images(image), alignment.texts(text)

    return sides, folder


def _digest(encoder: Any, pairs: pd.DataFrame) -> str:
    """Of what the alignment depends on."""
    found = hashlib.sha256(json.dumps(encoder.spec.to_json()).encode())
    for value in encoder.state_dict().values():
        found.update(value.numpy().tobytes())
    found.update("\0".join([*pairs["group"], *pairs["text"], *pairs["split"]]).encode())
    return found.hexdigest()[:16]


def _fitted(module: Any, encoder: Any, pairs: pd.DataFrame) -> Alignment:
    from regraft.training.alignment import align, recall_at
    from regraft.training.fusion_probe import embedded

    rows = embedded(module.embed_table(encoder, pairs), encoder.parts)
    groups, test = pairs["group"].to_numpy(str), (pairs["split"] == "test").to_numpy()
    alignment = align(rows.rows(~test), groups[~test].tolist())
    note(f"aligned on {int((~test).sum())} pairs of {len(set(groups[~test]))} images")
    if test.any():
        of_texts, of_images = recall_at(alignment, rows.rows(test), groups[test].tolist())
        note(
            f"held out: among {len(set(groups[test]))} images that of a text is one of the first "
            f"five in {of_texts:.1%}, a text of an image in {of_images:.1%}"
        )
    return alignment
