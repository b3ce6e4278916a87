"""With few labels: the last blocks learn by contrast, then a head is fitted on what they give.

A head that is fitted on frozen features is right on all of its few examples, so cross-entropy has
nothing left to teach; and a head does not fit embeddings that move. Both steps apart: Tunstall et
al., "Efficient Few-Shot Learning Without Prompts" (SetFit), 2022, section 3. Instead of drawn pairs
every batch compares all of its examples (see `objectives.supervised_contrast`), which needs a
fraction of the passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regraft.backbones.heads import LinearHead
from regraft.backbones.heads.linear import unit_rows
from regraft.backbones.heads.logistic import logistic_probe
from regraft.errors import UserError
from regraft.training.inputs import Views
from regraft.training.losses import ClassificationLoss
from regraft.training.optimisation import Optimisation
from regraft.training.ports import Ports
from regraft.training.progressive import fine_tune
from regraft.training.selection import validation_score
from regraft.training.sources import Data
from regraft.training.trunk_store import TrunkStore
from regraft.transfer.stage import Stage, last_blocks

STRENGTH = 1.0
"""Of the head: examples of a class are near each other by now, and a strong penalty looks at all of
them."""
_ONE_POINT = 0.99


@dataclass(frozen=True)
class ContrastTuning:
    """How the blocks learn; the fields are those of the recipe's few-shot section."""

    blocks: int = 3
    epochs: int = 20
    learning_rate: float = 5e-5
    temperature: float = 0.1
    batch_size: int = 32


def tune_by_contrast(
    model: Any,
    views: Views,
    labels: np.ndarray,
    how: ContrastTuning,
    *,
    cached_views: int,
    trunks: TrunkStore | None,
    work_dir: Path,
    seed: int,
) -> dict[str, Any]:
    """Move the last blocks of `model.encoder` in place and return the history. The head stays, and
    no longer fits (see `head_after`). `labels` (n,) are class numbers of the examples in `views`.

    Raises
    ------
    UserError
        As `fine_tune`.
    """
    trainable = last_blocks(how.blocks, len(model.encoder.blocks))
    stage = Stage(f"contrast, last {len(trainable)} blocks", trainable, how.epochs, head=False)
    term = {"kind": "supervised_contrast", "strength": 1.0, "temperature": how.temperature}
    return fine_tune(
        model,
        [stage],
        data=Data(views, cached_views=cached_views),
        loss=ClassificationLoss(labels, len(model.classes), label_weight=0.0),
        score=validation_score(labels),
        optimisation=Optimisation(
            learning_rate=how.learning_rate, block_decay=1.0, batch_size=how.batch_size
        ),
        ports=Ports(objectives=[term]),
        trunks=trunks,
        work_dir=work_dir,
        seed=seed,
    )


def head_after(embeddings: np.ndarray, labels: np.ndarray) -> LinearHead:
    """The head (classes, dim) on what the tuned encoder makes of the labelled examples, (n, dim).

    Raises
    ------
    UserError
        The encoder gives nearly the same embedding for everything, as after steps that were too
        large: no head could tell anything apart, though every loss is finite.
    """
    x = unit_rows(embeddings.astype(np.float64))
    n = len(x)
    alike = float((np.square(x.sum(0)).sum() - n) / (n * (n - 1)))
    if alike > _ONE_POINT:
        raise UserError(
            "the encoder has fallen into one point",
            where="finetune.few_shot",
            got=f"a mean cosine of {alike:.3f} between the labelled examples",
            expected=f"at most {_ONE_POINT}",
            fix="lower finetune.few_shot.learning_rate, or set kind: head_only",
        )
    return logistic_probe(embeddings, labels, strength=STRENGTH, folds=1)
