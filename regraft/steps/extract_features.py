"""Feature extraction: embeddings of every example, the probe baseline, the ranking of backbones."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regraft.data.files import write_arrays
from regraft.data.manifest import read_manifest
from regraft.recipe.backbone import BackboneOptions, FeatureOptions
from regraft.steps.domain_pretraining import pretrain_on_domain
from regraft.steps.options import typed


def extract_features(
    *,
    task: str,
    manifest: str | Path,
    backbone: dict[str, Any],
    features: dict[str, Any],
    threads: int,
    seed: int,
    out_dir: str | Path,
    parts: Sequence[str | Path] = (),
    code_version: str = "",
) -> None:
    """Write features.npz, probe.npz, probe.json, ranking.json, cost.json and backbone/ into
    `out_dir`.

    With `features.domain_pretraining` the encoder of texts reads the domain first, and everything
    here and in the steps behind sees what it then is; what that did is domain_pretraining.json. Of
    a killed one the next run with this `code_version` goes on.

    With auxiliary labels also auxiliary.npz, the stacked rows of their probes; with a fusion as
    head answerers.npz (see `regraft.steps.probes`).

    features.npz: `ids` (n,), `features` (n, dim) of the example as it is, and `averaged` (n, dim),
    the mean over its test views; where the probe reads places also `local` (n, length). backbone/
    is the resolved encoder: weights and preprocessing.
    cost.json: `test_cpu_seconds`, the part of the work that is for the evaluation.
    With unlabelled examples, views.npz holds further views to learn from them by: `train`, the
    augmented views of the training rows, and with a target domain those of
    `regraft.training.domain_views`. `backbone` and `features` are the fields of these sections
    of the recipe. With `parts`, the folders of `embed_shard`, the examples are not embedded again;
    what is rendered of them (augmented views, views for an adaptation) is, within its budgets.
    """
    from regraft.steps.hardware import use_threads
    from regraft.steps.probes import write_probes
    from regraft.steps.recording import modelling
    from regraft.tasks import task_module
    from regraft.training.domain_views import adaptation_views

    use_threads(threads)
    backbone, features = typed(BackboneOptions, backbone), typed(FeatureOptions, features)
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    rows = _used_rows(manifest)
    encoder = task_module(task).pretrained_encoder(backbone, taps=features["taps"])
    with modelling():
        pretrain_on_domain(
            task, encoder, rows, features["domain_pretraining"],
            seed=seed, code_version=code_version, out=out,
        )  # fmt: skip
        if parts:
            plain, averaged, cost, tested = _gathered(encoder, rows, parts)
        else:
            plain, averaged, cost, tested = _embedded(task, encoder, rows, features)
        encoder.reads_places = False  # of what follows, the head alone reads them
        augmented = augmented_embeddings(task, encoder, rows, features, seed)
        reads_places = write_probes(
            rows,
            averaged,
            augmented,
            kind=features["head"],
            seed=seed,
            out=out,
            parts=encoder.parts,
            places=encoder.places if _reads_places(encoder, features) else (),
            fusions=features["fusions"],
            answer_precision=features["answer_precision"],
        )
    plain, averaged, local = plain[:, : encoder.dim], *np.split(averaged, [encoder.dim], axis=1)
    kept = {"features": plain, "averaged": averaged} | ({"local": local} if reads_places else {})
    write_arrays(out / "features.npz", ids=rows["id"].to_numpy(str), **kept)
    with modelling():
        views = adaptation_views(task_module(task), encoder, rows, features, seed=seed)
    if augmented is not None and (rows["split"] == "unlabelled").any():
        views["train"] = augmented.astype(np.float16)
    np.savez(out / "views.npz", **views)  # type: ignore[arg-type]
    encoder.save(out / "backbone")
    with modelling():
        ranking = _ranked(task, rows, averaged, cost, backbone, features, seed)
    _write(out / "cost.json", {"test_cpu_seconds": tested})
    _write(out / "ranking.json", sorted(ranking, key=lambda row: -row["logme"]))


def embed_shard(
    *,
    task: str,
    manifest: str | Path,
    backbone: dict[str, Any],
    features: dict[str, Any],
    shard: int,
    threads: int,
    out_dir: str | Path,
) -> None:
    """Write features.npz (as `extract_features`) and cost.json of every `features.shards`-th
    example, beginning with number `shard`, into `out_dir`."""
    from regraft.steps.hardware import use_threads
    from regraft.steps.recording import modelling
    from regraft.tasks import task_module

    use_threads(threads)
    backbone, features = typed(BackboneOptions, backbone), typed(FeatureOptions, features)
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    rows = _used_rows(manifest)[int(shard) :: features["shards"]]
    plain = averaged = np.zeros((0, 0), np.float32)  # fewer examples than shards
    cost: dict[str, Any] = {"embed_ms": 0.0}
    tested = 0.0
    if len(rows):
        with modelling():
            encoder = task_module(task).pretrained_encoder(backbone, taps=features["taps"])
            plain, averaged, cost, tested = _embedded(task, encoder, rows, features)
    np.savez(out / "features.npz", ids=rows["id"].to_numpy(str), features=plain, averaged=averaged)
    _write(out / "cost.json", {"test_cpu_seconds": tested, "embed_ms": cost["embed_ms"]})


def _used_rows(manifest: str | Path) -> pd.DataFrame:
    rows = read_manifest(Path(manifest))
    return rows[rows["split"] != "unused"].reset_index(drop=True)


def _gathered(
    encoder: Any, rows: pd.DataFrame, parts: Sequence[str | Path]
) -> tuple[np.ndarray, np.ndarray, dict[str, Any], float]:
    """What `_embedded` returns, put together from the shards.

    Raises
    ------
    ValueError
        The shards are not those of these rows.
    """
    archives = [np.load(Path(part, "features.npz")) for part in parts]
    filled = [archive for archive in archives if len(archive["ids"])]
    ids = np.concatenate([archive["ids"] for archive in filled])
    if sorted(ids) != sorted(rows["id"]):
        raise ValueError(
            f"the shards hold {len(ids)} examples, not the {len(rows)} of the manifest"
        )
    order = pd.Series(range(len(ids)), index=ids).loc[rows["id"]].to_numpy()
    plain, averaged = (
        np.concatenate([archive[name] for archive in filled])[order]
        for name in ("features", "averaged")
    )
    costs = [json.loads(Path(part, "cost.json").read_text(encoding="utf-8")) for part in parts]
    each = [cost["embed_ms"] for cost in costs if cost["embed_ms"]]
    cost = _cost(encoder, float(np.mean(each)))
    return plain, averaged, cost, round(sum(cost["test_cpu_seconds"] for cost in costs), 3)


def augmented_embeddings(
    task: str, encoder: Any, rows: pd.DataFrame, features: dict[str, Any], seed: int
) -> np.ndarray | None:
    """Embeddings (training rows, views, dim) of augmented views, where examples are few."""
    from regraft.tasks import task_module
    from regraft.training.probe import augmented_views

    train = rows[rows["split"] == "train"]
    views = augmented_views(
        len(train), most=features["augmented_views"], budget=features["augmented_budget"]
    )
    if not views:
        return None
    module = task_module(task)
    rendered = module.training_views(encoder, train, features["augmentation"], seed=seed)
    found: np.ndarray = module.embeddings_of_views(encoder, rendered, list(range(1, views + 1)))
    return found


def _ranked(
    task: str,
    rows: pd.DataFrame,
    averaged: np.ndarray,
    cost: dict[str, Any],
    backbone: dict[str, Any],
    features: dict[str, Any],
    seed: int,
) -> list[dict[str, Any]]:
    """Scores of the chosen backbone and of the candidates on the same training rows."""
    from regraft.tasks import task_module
    from regraft.training.probe import ranking_rows, score_backbone

    chosen = ranking_rows(rows, features["ranking_images_per_class"])
    few = rows.loc[chosen]
    own = score_backbone(few, averaged[chosen], seed=seed)
    ranking = [{"backbone": backbone["name"], "chosen": True, **cost, **own}]
    for candidate in features["candidates"]:
        encoder = task_module(task).pretrained_encoder(candidate, taps=features["taps"])
        _, found, cost = _timed_embedding(task, encoder, few, features["views"])
        scores = score_backbone(few, found, seed=seed)
        ranking.append({"backbone": candidate["name"], "chosen": False, **cost, **scores})
    return ranking


def _embedded(
    task: str, encoder: Any, rows: pd.DataFrame, features: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, dict[str, Any], float]:
    """As `_timed_embedding`, and the CPU seconds that went into the test rows. Their features are
    for the evaluation alone: nothing is learned from them. Local features follow the embeddings
    where a fusion that competes reads them."""
    views, encoder.reads_places = features["views"], _reads_places(encoder, features)
    test = (rows["split"] == "test").to_numpy()
    plain, averaged, cost = _timed_embedding(task, encoder, rows[~test], views)
    if not test.any():
        return plain, averaged, cost, 0.0
    started = time.process_time()
    own = _timed_embedding(task, encoder, rows[test], views)
    seconds = time.process_time() - started
    order = np.argsort(np.concatenate([np.flatnonzero(~test), np.flatnonzero(test)]))
    joined = [np.concatenate(pair)[order] for pair in zip((plain, averaged), own[:2], strict=True)]
    return joined[0], joined[1], cost, round(seconds, 3)


def _reads_places(encoder: Any, features: dict[str, Any]) -> bool:
    """Whether a fusion that competes reads local features."""
    kinds = [one["kind"] for one in features["fusions"]]
    return features["head"] == "fusion" and bool(encoder.parts) and "cross_attention" in kinds


def _timed_embedding(
    task: str, encoder: Any, rows: pd.DataFrame, views: int
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    from regraft.tasks import task_module

    started = time.perf_counter()
    plain, averaged = task_module(task).embed(encoder, rows, views=views)
    seconds = (time.perf_counter() - started) / (len(rows) * views)
    return plain, averaged, _cost(encoder, seconds * 1e3)


def _cost(encoder: Any, embed_ms: float) -> dict[str, Any]:
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    return {"embed_ms": round(embed_ms, 2), "parameters": parameters}


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
