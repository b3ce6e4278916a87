"""What every term promises: a scalar that moves the backbone, keeps the start, and mostly reads no
label."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

import regraft.transfer.objectives as port
from regraft.errors import UserError
from regraft.recipe.objectives import FeatureHint, Objective, ObjectiveOptions
from regraft.transfer.objectives import KINDS, build_objectives
from tests.transfer.objectives.support import begun, examples, start_of, step_of, toy

OPTIONS = {member.model_fields["kind"].default: member
           for member in (*get_args(get_args(Objective)[0]), FeatureHint)}  # fmt: skip
IN_FINETUNING = [kind for kind in KINDS if kind != "feature_hint"]
OF_LABELS = ["supervised_contrast", "cross_modal"]
OF_THE_HEAD = ["gloss"]
ALIGNING = ["dann", "cdan", "mcc", "coral", "mmd", "drcn", "entropy", "pseudo_label"]


def term_of(kind: str, **options: Any) -> Any:
    return build_objectives([{"kind": kind, "strength": 1.0, **options}])[kind]


def ready(kind: str) -> tuple[Any, Any]:
    """A term that began, and a model that has moved since."""
    model = toy()
    options = {"threshold": 0.3} if kind == "pseudo_label" else {}
    term = begun(term_of(kind, **options), model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    return term, model


def test_every_kind_has_options_and_a_file() -> None:
    folder = Path(port.__file__).parent
    assert list(OPTIONS) == list(KINDS)
    assert all((folder / f"{kind}.py").is_file() for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_recipe_s_options_build_the_term(kind: str) -> None:
    options: ObjectiveOptions = OPTIONS[kind](strength=0.5)
    terms = build_objectives([options.model_dump()])
    assert list(terms) == [kind]
    assert terms[kind].needs_unlabelled == (kind in ALIGNING)


def test_strength_zero_is_left_out_and_the_order_is_kept() -> None:
    strengths = {"mmd": 1.0, "l2_sp": 0.0, "coral": 0.1}
    options = [{"kind": kind, "strength": strength} for kind, strength in strengths.items()]
    assert list(build_objectives(options)) == ["mmd", "coral"]


def test_a_kind_twice_is_refused_and_an_unknown_one_named() -> None:
    with pytest.raises(UserError, match="twice"):
        build_objectives([{"kind": "mcc", "strength": 1.0}] * 2)
    with pytest.raises(KeyError, match="no objective of kind 'magic'"):
        build_objectives([{"kind": "magic", "strength": 1.0}])


@pytest.mark.parametrize("kind", [kind for kind in IN_FINETUNING if kind not in OF_THE_HEAD])
def test_the_term_is_a_scalar_whose_gradient_reaches_the_backbone(kind: str) -> None:
    term, model = ready(kind)
    value = term(step_of(model, examples(), examples(2.0, seed=3)))
    assert value.ndim == 0 and torch.isfinite(value)
    value.backward()
    gradient = model.encoder.weight.grad
    assert gradient is not None and torch.isfinite(gradient).all()
    assert gradient.abs().max() > 1e-6


@pytest.mark.parametrize("kind", [kind for kind in IN_FINETUNING if kind not in OF_LABELS])
def test_the_term_reads_no_label_of_the_step(kind: str) -> None:
    """Target labels are not even in a step; labels of the source enter only terms made of them."""
    term, model = ready(kind)
    values = [
        copy.deepcopy(term)(step_of(model, examples(), examples(2.0, seed=3), targets=targets))
        for targets in (torch.eye(3)[torch.zeros(48).long()], torch.full((48, 3), float("nan")))
    ]
    assert torch.equal(values[0], values[1])


@pytest.mark.parametrize("kind", ALIGNING)
def test_without_a_target_batch_the_term_says_what_it_needs(kind: str) -> None:
    term, model = ready(kind)
    with pytest.raises(ValueError, match="needs a batch of the target domain"):
        term(step_of(model, examples(), None))


@pytest.mark.parametrize("kind", IN_FINETUNING)
def test_begin_leaves_the_model_as_it_is(kind: str) -> None:
    model = toy()
    before = copy.deepcopy(model.state_dict())
    wanted = [parameter.requires_grad_(index > 0) for index, parameter in
              enumerate(model.parameters())]  # fmt: skip
    term_of(kind).begin(start_of(model))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not model.training
    assert [p.requires_grad for p in wanted] == [False, True, True, True]
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("kind", IN_FINETUNING)
def test_a_resumed_term_goes_on_where_it_was(kind: str) -> None:
    """`begin` anew, with other random numbers, then the checkpoint: the same value."""
    model = toy()
    options = {"projection": 8} if kind == "cdan" else {}
    first = begun(term_of(kind, **options), model)
    again = begun(term_of(kind, **options), model, seed=9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    step = step_of(model, examples(), examples(2.0, seed=3))
    for parameter in first.parameters():
        parameter.data.add_(0.01)
    first(step)
    again.load_state_dict(copy.deepcopy(first.state_dict()))
    assert torch.equal(first(step), again(step))


@pytest.mark.parametrize("kind", ["l2_sp", "ewc", "lwf", "coral", "mmd", "mcc", "entropy"])
def test_only_terms_that_learn_have_parameters(kind: str) -> None:
    assert not list(begun(term_of(kind), toy()).parameters())


@pytest.mark.parametrize("kind", ["dann", "cdan", "drcn", "cross_modal", "gloss"])
def test_terms_that_learn_give_their_parameters_to_the_optimiser(kind: str) -> None:
    term, model = ready(kind)
    term(step_of(model, examples(), examples(2.0, seed=3))).backward()
    assert list(term.parameters())
    assert all(parameter.grad is not None for parameter in term.parameters())
    assert term.learning_rate > 0
