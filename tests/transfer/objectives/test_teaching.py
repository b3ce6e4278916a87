"""Distillation: feature hints and the variants of soft answers; and CutMix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from regraft.errors import UserError
from regraft.recipe.objectives import SoftAnswers
from regraft.transfer.objectives.cutmix import cut_and_mix, random_box
from regraft.transfer.objectives.decoupled import decoupled_answers
from regraft.transfer.objectives.distillation import VARIANTS, answers_loss, soft_answers
from regraft.transfer.objectives.feature_hint import TaughtStart, TaughtStep, Term, projection
from regraft.transfer.objectives.mixup import mix
from regraft.transfer.objectives.standardised import standardised
from tests.transfer.objectives.support import examples, start_of, step_of, toy

STUDENT, TEACHER = (
    torch.randn(7, 4, generator=torch.Generator().manual_seed(0)),
    3 * torch.randn(7, 4, generator=torch.Generator().manual_seed(1)),
)
LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 2])


def taught(model: object, teacher: torch.Tensor) -> TaughtStep:
    step = step_of(model, examples(), None)
    return TaughtStep(
        step.model, step.embed, step.labelled, step.targets, 0.5, teacher_embeddings=teacher
    )


def hint(rank: int = 256, teacher_dim: int = 8) -> Term:
    start = start_of(toy())
    torch.manual_seed(0)
    term = Term(rank=rank)
    term.begin(
        TaughtStart(
            start.model, start.embed, start.old, start.example, start.rng, teacher_dim=teacher_dim
        )
    )
    return term


def test_a_hint_is_half_the_squared_distance_to_the_teacher() -> None:
    model, term = toy(), hint(teacher_dim=5)
    with torch.no_grad():
        term.projection.weight.copy_(torch.eye(5))
        term.projection.bias.zero_()
    found = term(taught(model, model.encoder(examples()).detach() + 2.0))
    assert found.item() == pytest.approx(0.5 * 5 * 4.0, rel=1e-5)


@pytest.mark.parametrize("rank", [256, 2])
def test_a_hint_teaches_projection_and_backbone(rank: int) -> None:
    model, term = toy(), hint(rank)
    before = model.encoder.weight.clone()
    teacher = examples() @ torch.randn(6, 8) / 3
    optimiser = torch.optim.Adam([*model.parameters(), *term.parameters()], lr=0.02)
    values = []
    for _ in range(150):
        value = term(taught(model, teacher))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert values[-1] < (0.2 if rank == 256 else 0.8) * values[0]
    assert not torch.equal(before, model.encoder.weight)


def test_a_wide_projection_has_bounded_rank() -> None:
    wide = projection(8000, 6000, rank=256)
    assert sum(p.numel() for p in wide.parameters()) == 256 * (8000 + 6000) + 6000


def test_a_hint_without_a_teacher_says_so() -> None:
    with pytest.raises(TypeError, match="needs a teacher"):
        Term().begin(start_of(toy()))
    with pytest.raises(TypeError, match="needs a teacher"):
        hint()(step_of(toy(), examples(), None))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_plain_distillation_is_decoupled_with_the_teacher_s_doubt_as_weight(
    temperature: float,
) -> None:
    """Zhao et al., equation 6: KD = TCKD + (1 - p_teacher(true class)) NCKD, per example."""
    doubts = 1 - (TEACHER / temperature).softmax(1)[torch.arange(7), LABELS]
    parts = [
        decoupled_answers(
            STUDENT[i : i + 1],
            TEACHER[i : i + 1],
            LABELS[i : i + 1],
            temperature=temperature,
            target_weight=1.0,
            other_weight=float(doubts[i]),
        )
        for i in range(7)
    ]
    expected = soft_answers(STUDENT, TEACHER, temperature=temperature)
    assert torch.allclose(torch.stack(parts).mean(), expected, atol=1e-5)


def test_the_parts_of_decoupled_answers_see_what_they_say() -> None:
    """Raising the true class changes only the first part; permuting the others only the second."""

    def parts(student: torch.Tensor) -> tuple[float, float]:
        first, second = (
            decoupled_answers(student, TEACHER[:1], LABELS[:1], temperature=2.0,
                              target_weight=a, other_weight=1 - a).item()
            for a in (1.0, 0.0)
        )  # fmt: skip
        return first, second

    base = parts(STUDENT[:1])
    surer = parts(STUDENT[:1] + torch.tensor([[2.0, 0.0, 0.0, 0.0]]))
    permuted = parts(STUDENT[:1, [0, 2, 3, 1]])
    assert surer[0] != pytest.approx(base[0]) and surer[1] == pytest.approx(base[1])
    assert permuted[0] == pytest.approx(base[0]) and permuted[1] != pytest.approx(base[1])


def test_standardised_logits_forget_range_and_offset() -> None:
    assert torch.allclose(standardised(TEACHER), standardised(5 * TEACHER + 3), atol=1e-5)
    found = answers_loss(
        0.2 * TEACHER + 1, TEACHER, LABELS, temperature=2.0, variant="standardised"
    )
    assert found.item() == pytest.approx(0, abs=1e-5)
    assert soft_answers(0.2 * TEACHER + 1, TEACHER, temperature=2.0) > 0.1


def test_standardised_logits_of_two_classes_are_refused() -> None:
    with pytest.raises(UserError, match="two classes"):
        standardised(torch.zeros(4, 2))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_draws_the_student_to_the_teacher(variant: str) -> None:
    options = TypeAdapter(SoftAnswers).validate_python({"variant": variant}).model_dump()
    student = STUDENT.clone().requires_grad_()
    optimiser = torch.optim.SGD([student], lr=1.0)
    values = []
    for _ in range(200):
        value = answers_loss(student, TEACHER, LABELS, temperature=2.0, **options)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert values[-1] < 0.1 * values[0]
    assert torch.equal(student.argmax(1), TEACHER.argmax(1))


def test_an_unknown_variant_is_named() -> None:
    with pytest.raises(KeyError, match="no variant 'magic'"):
        answers_loss(STUDENT, TEACHER, LABELS, temperature=2.0, variant="magic")


def test_cutmix_of_strength_zero_returns_its_input_itself() -> None:
    inputs, targets = [torch.randn(4, 3, 8, 8)], torch.eye(4)
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    mixed, wanted = cut_and_mix(inputs, targets, alpha=0, rng=rng)
    assert mixed is inputs and wanted is targets
    assert rng.bit_generator.state == state


@pytest.mark.parametrize("seed", range(6))
def test_cutmix_shares_labels_by_area_and_taps_alike(seed: int) -> None:
    """Pictures that are filled with their own number show which pixel came from whom."""
    n = 5
    x = torch.arange(n).float().view(n, 1, 1, 1).expand(n, 2, 8, 6).contiguous()
    (mixed, taps), wanted = cut_and_mix(
        [x, torch.eye(n)], torch.eye(n), alpha=1.0, rng=np.random.default_rng(seed)
    )
    for number in range(n):
        areas = torch.bincount(mixed[number, 0].flatten().long(), minlength=n) / 48
        assert torch.allclose(wanted[number], areas, atol=1e-6)
    assert torch.allclose(taps, wanted)
    assert torch.equal(mixed[:, 0], mixed[:, 1])
    assert (x == torch.arange(n).view(n, 1, 1, 1)).all(), "the input is not changed in place"


def test_cutmix_does_cut() -> None:
    x = torch.arange(4).float().view(4, 1, 1, 1).expand(4, 1, 8, 8)
    found = [cut_and_mix([x], torch.eye(4), alpha=1.0, rng=np.random.default_rng(s))[0][0]
             for s in range(5)]  # fmt: skip
    assert any(len(picture.unique()) == 2 for mixed in found for picture in mixed)


def test_cutmix_without_a_plane_is_mixup() -> None:
    tokens, targets = torch.randn(4, 9, 5), torch.eye(4)
    found = cut_and_mix([tokens], targets, alpha=0.7, rng=np.random.default_rng(3))
    expected = mix([tokens], targets, alpha=0.7, rng=np.random.default_rng(3))
    assert torch.equal(found[0][0], expected[0][0]) and torch.equal(found[1], expected[1])


def test_the_box_covers_its_share_or_less_at_the_border() -> None:
    rng = np.random.default_rng(0)
    boxes = [random_box(32, 20, 0.75, rng) for _ in range(200)]
    areas = [(b - t) * (r - left) / 640 for t, b, left, r in boxes]
    assert max(areas) == pytest.approx(0.25, abs=0.01)
    assert all(0 <= t <= b <= 32 and 0 <= left <= r <= 20 for t, b, left, r in boxes)
