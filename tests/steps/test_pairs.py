"""Pairs of image and text on their way through the steps: features, teacher, student."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regraft.data.manifest import read_manifest, write_manifest
from regraft.data.pair_files import PairFile, stored_pair
from regraft.evaluation.metrics import class_numbers
from regraft.steps.distill import distill
from regraft.steps.extract_features import embed_shard, extract_features
from regraft.steps.finetune import finetune
from regraft.steps.measuring import baseline_metrics
from regraft.steps.probes import ANSWERERS
from regraft.tasks import load_model
from tests.backbones.texts import WORDS, tiny_folder
from tests.data.test_pair_files import picture

TASK: dict[str, Any] = {"task": "image_text_classification"}
N = 96
FEATURES: dict[str, Any] = {"views": 1, "taps": 1, "head": "fusion", "augmented_views": 0}


@dataclass(frozen=True)
class Chain:
    root: Path
    kind: str
    features: dict[str, Any]
    backbone: dict[str, Any]

    @property
    def manifest(self) -> Path:
        return self.root / "manifest.parquet"

    def answers(self, who: str) -> np.ndarray:
        """Probabilities of a model, in a folder of this name, for the test pairs."""
        rows = self.test
        found: np.ndarray = load_model(self.root / who).probabilities(rows["path"].tolist())
        return found

    @property
    def test(self) -> pd.DataFrame:
        rows = read_manifest(self.manifest)
        return rows[rows["split"] == "test"].reset_index(drop=True)


OPTIONS: dict[str, dict[str, Any]] = {
    "bilinear": {"image_rank": 8},
    "cross_attention": {"width": 48},
}
"""What these recipes want of a fusion that is not its default."""


@pytest.fixture(scope="module", params=list(OPTIONS))
def chain(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Chain]:
    """A teacher and a student of pairs whose label follows from picture and text together."""
    root = tmp_path_factory.mktemp(f"pairs-{request.param}")
    write_manifest(pd.DataFrame(_pairs(root / "store")), root / "manifest.parquet")
    text = {"name": str(tiny_folder(root / "text")), "taps": 2}
    fusion = {"kind": request.param, **OPTIONS[request.param]}
    made = Chain(
        root, request.param, FEATURES | {"fusions": [fusion]},
        {"name": "starter", "image_size": 64, "text": text},
    )  # fmt: skip
    shared = {**TASK, "manifest": made.manifest, "seed": 0, "features": root / "features"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_HOME", str(root / "home"))
        extract_features(
            **TASK, manifest=made.manifest, backbone=made.backbone, features=made.features,
            threads=1, seed=0, out_dir=root / "features",
        )  # fmt: skip
        finetune(
            **shared, options={"plan": {"kind": "head_only"}, "threads": 1}, test_views=1,
            code_version="c0de", out_dir=root / "teacher",
        )  # fmt: skip
        distill(
            **shared, teacher=root / "teacher", options={}, finetune={}, threads=1,
            code_version="c0de", out_dir=root / "student",
        )  # fmt: skip
        yield made


def _pairs(store: Path) -> Iterator[dict[str, Any]]:
    store.mkdir()
    rng = np.random.default_rng(0)
    for number in range(N):
        of_image, of_text = number % 2, number // 2 % 2
        words = " ".join([*rng.choice(WORDS[10:20], 3), ["asthma", "fever"][of_text]])
        path = stored_pair(PairFile(picture(of_image, 64 + number % 30), words), store)
        yield {
            "id": f"{number}", "path": str(path), "domain": "", "group": f"g{number}",
            "label": "agree" if of_image == of_text else "differ",
            "split": "test" if number % 3 == 0 else "train", "size": 1, "sha256": path.stem,
            "perceptual_hash": "", "quality_flags": "", "width": 64, "height": 64,
            "brightness": 0.5, "characters": 9, "words": 4, "function_words": 0.0,
        }  # fmt: skip


def _right(chain: Chain, answers: np.ndarray) -> float:
    labels = class_numbers(chain.test["label"].tolist(), ["agree", "differ"])
    return float((answers.argmax(1) == labels).mean())


def test_local_features_are_kept_where_the_probe_reads_them(chain: Chain) -> None:
    archive = np.load(chain.root / "features" / "features.npz")
    assert ("local" in archive.files) == (chain.kind == "cross_attention")
    encoder = load_model(chain.root / "teacher").model.encoder
    assert archive["features"].shape == archive["averaged"].shape == (N, encoder.dim)


def test_the_probe_the_teacher_and_the_answerer_say_the_same(chain: Chain) -> None:
    found = chain.answers("teacher")
    assert _right(chain, found) > 0.9
    rows, classes = read_manifest(chain.manifest), ["agree", "differ"]
    metrics = baseline_metrics(rows, chain.test, classes, chain.root / "features", {}, 0)
    name = f"fusion {chain.kind}"
    assert metrics["probe"]["test"]["accuracy"] == metrics[name]["test"]["accuracy"]
    answerers = np.load(chain.root / "features" / ANSWERERS)
    own = answerers[chain.kind][[answerers["ids"].tolist().index(one) for one in chain.test["id"]]]
    assert (own.argmax(1) == found.argmax(1)).all()


def test_a_student_fuses_as_its_teacher_does_with_less(chain: Chain) -> None:
    teacher, student = (load_model(chain.root / who).model for who in ("teacher", "student"))
    assert student.head.name == teacher.head.name == chain.kind
    assert student.encoder.image.input_size < teacher.encoder.image.input_size
    assert len(student.encoder.text.blocks) < len(teacher.encoder.text.blocks)
    assert float(student.head.abstain_below) == float(teacher.head.abstain_below)
    assert _right(chain, chain.answers("student")) > 0.9
    for head in (student.head, teacher.head):  # what the recipe says of the fusion holds for both
        values = head.state_dict()
        if chain.kind == "bilinear":
            assert len(values["image_basis"]) == 8
        else:
            assert values["bridge"].shape[1] == 3 * 48


def test_shards_hold_what_the_fusion_reads(chain: Chain, tmp_path: Path) -> None:
    features = chain.features | {"shards": 2}
    how: dict[str, Any] = {
        **TASK, "manifest": chain.manifest, "backbone": chain.backbone, "features": features,
        "threads": 1,
    }  # fmt: skip
    parts = [tmp_path / str(shard) for shard in range(2)]
    for shard, folder in enumerate(parts):
        embed_shard(**how, shard=shard, out_dir=folder)
    extract_features(**how, seed=0, out_dir=tmp_path / "all", parts=parts)
    cards = [
        json.loads((folder / "probe.json").read_text())
        for folder in (tmp_path / "all", chain.root / "features")
    ]
    assert cards[0]["judged"] == cards[1]["judged"]
