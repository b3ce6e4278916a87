"""Cross-attention between the regions of an image and the words of a text, small enough to be
fitted on a few hundred pairs.

    r, w = leading components of image and regions, of text and words, of length sqrt(rank)
    seen = mean over w of softmax(Q_w w (K_r r)^T / sqrt(d)) V_r r
    read = mean over r of softmax(Q_r r (K_w w)^T / sqrt(d)) V_w w
    logits = a l_image + b l_text + U [seen, read, seen * read]

in several heads of d numbers each: a co-attentional layer (Lu et al., "ViLBERT", NeurIPS 2019,
section 3.1) over both whole embeddings and what is at each place, and the products of what it finds
(Kim et al., "Hadamard Product for Low-rank Bilinear Pooling", ICLR 2017). The components are not
learned. U begins at zero, so what is learned is what both experts leave over.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional

Tensors = Mapping[str, torch.Tensor]

ATTENTION = tuple(
    f"{side}_{what}" for side in ("image", "text") for what in ("queries", "keys", "values")
)
"""Names of the projections, each (width, rank)."""
LEARNED = (*ATTENTION, "bridge", "numbers")
"""And of U (classes, 3 * width) and of a, b. The rest are `heads`, `places` (2,), how many regions
and words there are, and `mean` (dim,) and `basis` (rank, dim) of `image_`, `image_part_`, `text_`
and `text_part_`."""


def places(given: Tensors, local: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Regions (n, places, channels) and words (n, places, hidden) from the numbers of both side by
    side, (n, length)."""
    n_regions, n_words = (int(number) for number in given["places"])
    regions, words = local.tensor_split([n_regions * len(given["image_part_mean"])], 1)
    return regions.unflatten(1, (n_regions, -1)), words.unflatten(1, (n_words, -1))


def tokens(given: Tensors, side: str, whole: torch.Tensor, parts: torch.Tensor) -> torch.Tensor:
    """The embedding (n, dim) and the local features (n, places, other dim) of one modality as
    components (n, 1 + places, rank), zeros where a place is empty."""
    there = parts.abs().amax(2, keepdim=True) > 0
    found = [
        functional.normalize((x - given[f"{name}_mean"]) @ given[f"{name}_basis"].T, dim=2)
        for name, x in ((side, whole[:, None]), (f"{side}_part", parts))
    ]
    return torch.cat([found[0], found[1] * there], 1) * found[0].shape[2] ** 0.5


def attended(given: Tensors, regions: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """What is found, (n, 3 * width), of the `tokens` of both modalities."""
    seen = _attention(given, "text", words, "image", regions)
    read = _attention(given, "image", regions, "text", words)
    return torch.cat([seen, read, seen * read], 1)


def answers(
    given: Tensors, found: torch.Tensor, of_image: torch.Tensor, of_text: torch.Tensor
) -> torch.Tensor:
    """Log-probabilities (n, classes) of what `attended` found and what both experts say."""
    both = given["numbers"][0] * of_image + given["numbers"][1] * of_text
    return (both + functional.linear(found, given["bridge"])).log_softmax(1)


def _attention(
    given: Tensors, asking: str, queries: torch.Tensor, asked: str, keys: torch.Tensor
) -> torch.Tensor:
    """What the tokens (n, p, rank) of one modality find among those (n, q, rank) of the other, mean
    over the former: (n, width)."""
    heads = int(given["heads"])
    askers, there = (x.abs().amax(2) > 0 for x in (queries, keys))
    q, k, v = (
        functional.linear(x, given[name]).unflatten(2, (heads, -1)).transpose(1, 2)
        for x, name in (
            (queries, f"{asking}_queries"), (keys, f"{asked}_keys"), (keys, f"{asked}_values")
        )
    )  # fmt: skip
    found = functional.scaled_dot_product_attention(q, k, v, attn_mask=there[:, None, None])
    own = found.transpose(1, 2).flatten(2) * askers[:, :, None]
    return own.sum(1) / askers.sum(1, keepdim=True).clamp(min=1)
