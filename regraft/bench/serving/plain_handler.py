"""What an engineer writes by hand: FastAPI, torch, one image per call.

REGRAFT_BENCH_MODEL=FOLDER uvicorn regraft.bench.serving.plain_handler:app
"""

from __future__ import annotations

import os
from typing import Any

import torch
from fastapi import Body, FastAPI
from scipy.special import softmax

from regraft.data.images import open_rgb
from regraft.tasks import load_model

app = FastAPI()
predictor: Any = load_model(os.environ["REGRAFT_BENCH_MODEL"])
torch.set_num_threads(len(os.sched_getaffinity(0)))


@app.post("/predict")
def predict(image: bytes = Body(media_type="image/jpeg")) -> dict[str, Any]:
    """FastAPI calls this in one of its threads."""
    preprocessing = predictor.model.encoder.spec.preprocessing
    with torch.inference_mode():
        logits = predictor.model.averaged_logits(preprocessing.tensor([open_rgb(image)]))
    probabilities = softmax(logits[0].numpy() / predictor.temperature)
    found = dict(zip(predictor.classes, map(float, probabilities), strict=True))
    label = max(found, key=lambda name: found[name])
    return {"label": label, "confidence": found[label], "probabilities": found}
