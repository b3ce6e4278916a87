"""Full fine-tuning with the Trainer of HuggingFace's transformers.

AdamW and a linearly falling rate, its defaults; the rate of 1e-3 is what a new head on a small
convolutional network needs (the default of 5e-5 is meant for transformers).
"""

from __future__ import annotations

from typing import Any

from transformers import Trainer, TrainingArguments

from regraft.bench.baselines.photos import measured, network_and_photos
from regraft.bench.prepared import Prepared


def measure(
    prepared: Prepared, *, epochs: int = 5, learning_rate: float = 1e-3, batch_size: int = 32
) -> dict[str, Any]:
    """{"peer": {"test", "source", "target"}}."""
    network, photos, classes = network_and_photos(prepared)
    how = TrainingArguments(
        output_dir=str(prepared.own / "trainer"),
        num_train_epochs=epochs,
        learning_rate=learning_rate,
        per_device_train_batch_size=batch_size,
        seed=prepared.recipe.seed,
        save_strategy="no",
        report_to="none",
    )
    with prepared.timed("finetune"):
        Trainer(model=network, args=how, train_dataset=photos).train()
    return {"peer": measured(prepared, network, classes, photos.how)}
