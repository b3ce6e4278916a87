"""Few-shot episodes on frozen features: classes and shots drawn time and again from test photos, so
that a head's figure does not hang on one draw of the shots."""

from __future__ import annotations

from typing import Any

import numpy as np

from regraft.bench.prepared import Prepared
from regraft.data.manifest import in_order
from regraft.evaluation.episodes import few_shot_accuracy

WAYS = 5


def measure(prepared: Prepared, *, shots: list[int], episodes: int) -> dict[str, Any]:
    """{"episodes": {head: {shots as text: {"accuracy", "low", "high", "episodes", "groups"}}}} of
    episodes of `WAYS` classes; `groups` are those of the photos that they are drawn from."""
    archive = np.load(prepared.features / "features.npz")
    rows = in_order(prepared.rows, archive["ids"])
    asked = (rows["split"] == "test").to_numpy()
    with prepared.timed("finetune"):
        found = few_shot_accuracy(
            archive["averaged"][asked],
            rows.loc[asked, "label"].to_numpy(str),
            rows.loc[asked, "group"].to_numpy(str),
            ways=WAYS,
            shots=shots,
            episodes=episodes,
            seed=prepared.recipe.seed,
        )
    drawn_from = {"groups": int(rows.loc[asked, "group"].nunique())}
    return {
        "episodes": {
            head: {str(count): one | drawn_from for count, one in own.items()}
            for head, own in found.items()
        }
    }
