"""SetFit without its library: an encoder tuned on pairs, then logistic regression.

Source: Tunstall et al., "Efficient Few-Shot Learning Without Prompts", 2022, section 3. Every text
makes `ITERATIONS` pairs with one of its class and as many with one of another, whose cosine is
drawn to 1 and to 0; all weights move, for one epoch. These are the defaults of the library.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from torch.nn import functional as F

from regraft.backbones.heads.logistic import logistic_probe
from regraft.backbones.transformer import TransformerEncoder, embed_texts
from regraft.bench.methods.recipe import tested
from regraft.bench.prepared import Prepared
from regraft.steps.measuring import metrics_of
from regraft.training.examples import split_of

ITERATIONS, _BATCH, _RATE, _WARM_UP = 20, 16, 2e-5, 0.1


def measure(prepared: Prepared) -> dict[str, Any]:
    """{"peer": {"test", "source", "target"}}."""
    rows, seed = prepared.rows, prepared.recipe.seed
    classes = sorted(rows.loc[rows["split"] == "train", "label"].unique())
    encoder, train = prepared.encoder(), split_of(rows, "train", classes)
    texts, labels = train.rows["text"].tolist(), np.asarray(train.labels)
    with prepared.timed("finetune"):
        _tune(encoder, texts, labels, seed)
        head = logistic_probe(embed_texts(encoder, texts), labels, strength=1.0)
    test = tested(prepared, classes)
    found = softmax(head.logits(embed_texts(encoder, test["text"].tolist())), axis=1)
    return {"peer": metrics_of(test, found, classes, prepared.domains, seed)}


def _tune(encoder: TransformerEncoder, texts: list[str], labels: np.ndarray, seed: int) -> None:
    torch.manual_seed(seed)
    pairs, cosines = _pairs(labels, np.random.default_rng(seed))
    steps = -(-len(pairs) // _BATCH)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=_RATE)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda n: min((n + 1) / (_WARM_UP * steps), (steps - n) / steps)
    )
    encoder.train()
    for start in range(0, len(pairs), _BATCH):
        own = pairs[start : start + _BATCH]
        x = encoder.tokens.tensor([texts[i] for i in own.T.ravel()])
        first, second = encoder(x).chunk(2)
        optimiser.zero_grad()
        F.mse_loss(
            (first * second).sum(1), torch.tensor(cosines[start : start + _BATCH])
        ).backward()
        optimiser.step()
        rate.step()


def _pairs(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the texts of each pair, (n, 2), and the cosines that they should have, (n,)."""
    found = []
    for text, label in enumerate(labels):
        alike = np.setdiff1d(np.flatnonzero(labels == label), [text])
        for others, cosine in ((alike, 1.0), (np.flatnonzero(labels != label), 0.0)):
            found += [(text, other, cosine) for other in rng.choice(others, ITERATIONS)]
    order = rng.permutation(len(found))
    pairs = np.array(found)[order]
    return pairs[:, :2].astype(int), pairs[:, 2].astype(np.float32)
