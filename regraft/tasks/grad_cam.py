"""Where in an image the evidence for an answer lies (Grad-CAM: Selvaraju et al., ICCV 2017, eq. 1
and 2).

    map = relu(sum_c a_c A_c),    a_c = mean over positions of d logit / d A_c

A (channels, height, width) is what the last block of the image encoder that has positions puts out,
and the logit that of the predicted class, through the fusion with this text.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from regraft.tasks.pair_predictor import PairPredictor, decode

_HOT, _OPACITY = (220, 40, 0), 160


def evidence_map(predictor: PairPredictor, value: Any) -> np.ndarray | None:
    """Evidence (height, width) in 0 to 1 for the answer to a pair; None where the image makes no
    difference to it, or the encoder has no block with positions."""
    model, image = predictor.model, predictor.encoder.image
    places = [block.output for block in image.blocks if block.output]
    kept: list[torch.Tensor] = []
    hook = image.model.get_submodule(places[-1]).register_forward_hook(
        lambda module, args, output: kept.append(output)
    )
    x = predictor.tensor([value]).to(model.encoder.device)
    try:
        model.eval()
        with torch.enable_grad():
            model.head(model.encoder(x.requires_grad_()))[0].max().backward(inputs=kept)
    except RuntimeError:  # the answer does not depend on the image
        return None
    finally:
        hook.remove()
    activation, gradient = kept[0], kept[0].grad
    if activation.ndim != 4 or gradient is None:
        return None
    found = (gradient.mean((2, 3), keepdim=True) * activation).sum(1)[0].relu()
    most = float(found.detach().max())
    return (found.detach() / most).cpu().numpy() if most > 0 else None


def shown_evidence(predictor: PairPredictor, path: str) -> Image.Image | None:
    """The image of a pair in grey with the evidence in red; None as `evidence_map`."""
    from regraft.data.images import open_rgb

    pair = decode(path)
    found = evidence_map(predictor, path) if pair.image and pair.text else None
    if found is None or pair.image is None:
        return None
    grey = open_rgb(pair.image).convert("L").convert("RGB")
    heat = Image.fromarray((found * _OPACITY).astype(np.uint8))
    heat = heat.resize(grey.size, Image.Resampling.BICUBIC)
    return Image.composite(Image.new("RGB", grey.size, _HOT), grey, heat)
