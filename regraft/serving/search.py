"""Finding images by a text and texts by an image, with a model of pairs.

Its head holds the alignment of both encoders that was fitted on the training pairs (see
`training.alignment`). What is searched is embedded once and kept below the home folder, per version
of the model and content of the table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from regraft.data.pair_files import PairFile
from regraft.errors import UserError
from regraft.progress import note
from regraft.registry import store, versions
from regraft.serving.pair_alignment import Sides, aligned_sides, searched_pairs

if TYPE_CHECKING:
    from regraft.training.alignment import Index

_IMAGE, _TEXT = 0, 1
RECIPES = (".yaml", ".yml")


@dataclass(frozen=True)
class Found:
    """A path or a text, and its cosine with what was asked."""

    item: str
    cosine: float


def search(
    reference: str, query: PairFile, among: Path, *, k: int = 5, overrides: Sequence[str] = ()
) -> list[Found]:
    """The `k` images that fit a text best, or texts that fit an image, the best first.

    Parameters
    ----------
    reference : `NAME`, `NAME@ALIAS` or `NAME/VERSION` of a model of image-text pairs; or the path
        of a recipe, with `overrides`, whose encoders are aligned on its pairs (`pair_alignment`).
    query : a pair of which one modality is missing: that one is looked for.
    among : a table of pairs, or a folder with one (see `data.pairs`).

    Raises
    ------
    UserError
        Unknown reference, a model of another task or without alignment, a query with both, a table
        that cannot be read.
    """
    asked, wanted = (_IMAGE, _TEXT) if query.text is None else (_TEXT, _IMAGE)
    if query.text is not None and query.image is not None:
        raise UserError("a query is an image or a text", got="both", expected="one of them")
    home = store.home() / "search"
    of_recipe = Path(reference).suffix in RECIPES
    with nullcontext() if of_recipe else _registered(reference, home) as model:
        sides, kept = model or aligned_sides(reference, overrides, home)
        pairs = searched_pairs(among, home)
        index = _index(sides, pairs, wanted, kept)
        vectors = sides([query])[asked]
    return [Found(item, cosine) for item, cosine in index.search(vectors, k)[0]]


@contextmanager
def _registered(reference: str, home: Path) -> Iterator[tuple[Sides, Path]]:
    """As `aligned_sides`, of a model in the registry."""
    found = versions.resolve(reference)
    from regraft.tasks import load_model

    with versions.model_folder(found.name, found.version) as folder:
        predictor: Any = load_model(folder)
        _refuse_what_cannot_search(predictor, reference)

        def sides(values: list[PairFile]) -> tuple[Any, Any]:
            _, rows = predictor.rows_and_embeddings([value.to_bytes() for value in values])
            found: tuple[Any, Any] = predictor.model.head.sides(rows)
            return found

        yield sides, home / f"{found.name}-{found.version}"


def _refuse_what_cannot_search(predictor: Any, reference: str) -> None:
    head = getattr(getattr(predictor, "model", None), "head", None)
    if getattr(head, "aligned", False):
        return
    raise UserError(
        "this model cannot search",
        where=reference,
        expected="a model of the task image_text_classification with the head `fusion`, trained on "
        "at least 10 images",
    )


def _index(sides: Sides, pairs: pd.DataFrame, side: int, folder: Path) -> Index:
    """The index of all images or all texts: the kept one, or a new one."""
    from regraft.training.alignment import Index

    noun, key, shown = (("images", "group", "path"), ("texts", "text", "text"))[side]
    items = pairs.drop_duplicates(key).sort_values("id", kind="stable")
    named = items[shown].tolist()
    content = "\0".join([*items[key], *named])
    file = folder / f"{noun}-{hashlib.sha256(content.encode()).hexdigest()[:16]}.npz"
    if file.is_file():
        return Index.load(file)
    note(f"{len(named)} {noun} are embedded, once")
    asked = [
        PairFile(Path(one).read_bytes(), None) if side == _IMAGE else PairFile(None, one)
        for one in named
    ]
    index = Index(named, sides(asked)[side])
    index.save(file)
    return index
