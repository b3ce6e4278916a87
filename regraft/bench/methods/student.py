"""The student of a recipe beside its teacher, and the student in eight bits."""

from __future__ import annotations

from typing import Any

from regraft.bench.methods.recipe import scores, tested, train
from regraft.bench.prepared import Prepared
from regraft.data.manifest import files_of
from regraft.serving.export import export
from regraft.steps.distill import distill
from regraft.steps.measuring import timing_of
from regraft.tasks import load_model


def measure(prepared: Prepared) -> dict[str, Any]:
    """{"teacher": ..., "student": {..., "retention", "speedup"}, "int8": {"accuracy_change"}};
    shares, and for the speed-up the ratio of the throughputs."""
    recipe, folders = prepared.recipe, {"teacher": train(prepared)}
    folders["student"] = prepared.own / "student"
    with prepared.timed("distillation"):
        distill(
            task=recipe.task, manifest=prepared.manifest, teacher=folders["teacher"],
            features=prepared.features, finetune=prepared.values["finetune"],
            options=prepared.values["distillation"], threads=recipe.finetune.threads,
            seed=recipe.seed, code_version="bench", out_dir=folders["student"],
        )  # fmt: skip
    found = {who: scores(prepared, folder) for who, folder in folders.items()}
    kept, whole = (found[who]["test"]["accuracy"] for who in ("student", "teacher"))
    speed = {who: _images_per_second(prepared, folder) for who, folder in folders.items()}
    found["student"] |= {
        "retention": kept / whole,
        "speedup": speed["student"] / speed["teacher"],
    }
    small = export(
        str(folders["student"]), prepared.own / "student.onnx", int8=True,
        manifest=prepared.manifest, max_drop_pp=100.0,
    )["int8"]  # fmt: skip
    return found | {"int8": {"accuracy_change": -small["accuracy_drop_pp"] / 100}}


def _images_per_second(prepared: Prepared, folder: Any) -> float:
    model = load_model(folder)
    inputs = files_of(tested(prepared, model.classes))
    n_timed = prepared.recipe.evaluation.latency_images
    return timing_of(model, folder, inputs[:n_timed])["throughput_per_second"]
