"""What an engineer writes by hand: FastAPI, torch, one image per call.

REGRAFT_BENCH_MODEL=FOLDER uvicorn regraft.bench.serving.plain_handler:app
"""

from __future__ import annotations

import os
from typing import Any

import torch
from fastapi import Body, FastAPI

from regraft.tasks import load_model

app = FastAPI()
predictor: Any = load_model(os.environ["REGRAFT_BENCH_MODEL"])
torch.set_num_threads(len(os.sched_getaffinity(0)))


@app.post("/predict")
def predict(image: bytes = Body(media_type="image/jpeg")) -> dict[str, Any]:
    """FastAPI calls this in one of its threads."""
    found: dict[str, Any] = predictor.predict([image])[0]
    return found
