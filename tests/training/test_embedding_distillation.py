"""A student learns a teacher's embeddings, and what nobody showed it stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regraft.backbones.transformer import TransformerEncoder, embed_texts, with_layers
from regraft.backbones.transformer_loading import load_transformer
from regraft.training.embedding_distillation import Lessons, embedding_loss, teach_embeddings
from tests.backbones.texts import WORDS, tiny_folder

HOW = Lessons(epochs=10, learning_rate=3e-3, batch_size=16)


def sentences(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(3, 12))) for _ in range(count)]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> TransformerEncoder:
    """With layers that change what passes through them, as those of a trained network do."""
    encoder = load_transformer(str(tiny_folder(tmp_path_factory.mktemp("teacher") / "tiny")))
    with torch.no_grad():
        for block in encoder.blocks[1:]:
            for parameter in encoder.parameters_of(block.index):
                parameter.mul_(4.0 if parameter.ndim == 2 else 1.0)
    return encoder


def closeness(student: TransformerEncoder, teacher: TransformerEncoder) -> float:
    """Mean cosine on sentences that no student was taught, beyond what all sentences share."""
    mine, theirs = (embed_texts(one, sentences(60, seed=9)) for one in (student, teacher))
    mine, theirs = mine - mine.mean(0), theirs - theirs.mean(0)
    lengths = np.linalg.norm(mine, axis=1) * np.linalg.norm(theirs, axis=1)
    return float(((mine * theirs).sum(1) / lengths).mean())


def test_a_student_comes_close_to_its_teacher_on_other_sentences(
    teacher: TransformerEncoder,
) -> None:
    student = with_layers(teacher, 1)
    texts, before = sentences(300, seed=1), closeness(student, teacher)
    losses = teach_embeddings(student, texts, embed_texts(teacher, texts), HOW)
    assert losses[-1] < losses[0] / 2
    assert 1 - closeness(student, teacher) < (1 - before) / 3
    assert not student.training


def test_token_embeddings_stay_and_the_teacher_too(teacher: TransformerEncoder) -> None:
    student = with_layers(teacher, 2)
    kept = {name: value.clone() for name, value in teacher.state_dict().items()}
    words = [value.clone() for value in student.parameters_of(0)]
    texts = sentences(32, seed=2)
    teach_embeddings(student, texts, embed_texts(teacher, texts), Lessons(epochs=1))
    assert all(map(torch.equal, words, student.parameters_of(0)))
    assert all(torch.equal(kept[name], value) for name, value in teacher.state_dict().items())


def test_the_same_seed_teaches_the_same(teacher: TransformerEncoder) -> None:
    texts = sentences(40, seed=3)
    targets, found = embed_texts(teacher, texts), []
    for seed in (0, 0, 1):
        student = with_layers(teacher, 1)
        teach_embeddings(student, texts, targets, Lessons(epochs=1), seed=seed)
        found.append(embed_texts(student, texts))
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_the_loss_is_zero_for_equals_and_reads_similarities_alone_across_widths() -> None:
    x = torch.nn.functional.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)))
    assert float(embedding_loss(x, x, Lessons())) == pytest.approx(0, abs=1e-5)
    turned = x.roll(1, dims=1)  # other embeddings, the same similarities
    assert float(embedding_loss(turned, x, Lessons())) > 0.1
    wider = torch.cat([x, torch.zeros(6, 2)], dim=1)
    assert float(embedding_loss(wider, x, Lessons())) == pytest.approx(0, abs=1e-5)
    assert float(embedding_loss(wider.flip(0), x, Lessons())) > 0.1
