"""A recipe is checked as a whole before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from regraft.errors import UserError
from regraft.recipe import load_recipe
from regraft.recipe.loading import field_paths, sections_of
from regraft.recipe.model import Recipe
from regraft.recipe.plans import FullFineTuning

SHIPPED = sorted(Path(__file__).parents[2].glob("recipes/*.yaml"))


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: leaves\ndata:\n  root: photos\n")
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(path: Path) -> None:
    assert load_recipe(path).name == path.stem


def test_every_field_is_documented() -> None:
    discriminators = {"kind", "variant"}

    def bare(model: type[BaseModel]) -> list[str]:
        found = [
            n
            for n, f in model.model_fields.items()
            if not f.description and n not in discriminators
        ]
        inner = [s for f in model.model_fields.values() for s in sections_of(f.annotation)]
        return [f"{model.__name__}.{name}" for name in found] + [b for s in inner for b in bare(s)]

    assert bare(Recipe) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.imagesperclass=3", "did you mean data.images_per_class"),
        ("distilation.epochs=3", "did you mean distillation"),
        ("data.images_per_class=-1", "greater than or equal to 0"),
        ("data.images_per_class=many", "valid integer"),
        ("finetune.plan.kind=ful", "does not match any of the expected tags"),
        ("seed", "form key=value"),
        ("name.more=1", "has no fields"),
        ("name=With Space", "pattern"),
        ("data.classes=[a", "not valid YAML"),
    ],
)
def test_bad_overrides_are_refused(recipe_file: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe(recipe_file, [override])


def test_overrides_reach_nested_fields(recipe_file: Path) -> None:
    recipe = load_recipe(
        recipe_file, ["finetune.optimiser.learning_rate=1e-3", "data.classes=[no, on, 7]"]
    )
    assert recipe.finetune.optimiser.learning_rate == 0.001
    assert recipe.data.classes == ["no", "on", "7"]


def test_another_kind_drops_the_options_of_the_old_one(recipe_file: Path) -> None:
    recipe_file.write_text(
        "name: x\ndata: {root: d}\nfinetune: {plan: {kind: gradual_unfreezing, depths: [1], "
        "epochs: [1]}}\n"
    )
    plan = load_recipe(recipe_file, ["finetune.plan.kind=full", "finetune.plan.epochs=2"])
    assert plan.finetune.plan == FullFineTuning(epochs=2)


def test_a_recipe_is_frozen(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "name: [", "\x00"])
def test_what_is_not_a_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError):
        load_recipe(path)


def test_a_missing_file_names_the_recipes_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_recipe(tmp_path / "none.yaml")


def test_paths_of_every_section_are_known() -> None:
    assert {"data.root", "finetune.plan.depths", "distillation.student.weights"} <= set(
        field_paths(Recipe)
    )
