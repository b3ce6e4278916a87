from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from regraft import tasks
from regraft.data.kinds import kind_of, options_of
from regraft.errors import UserError
from regraft.recipe.data import DataOptions
from regraft.recipe.model import Recipe


@pytest.mark.parametrize("task", tasks.KINDS)
def test_every_kind_of_task_says_what_its_examples_are(task: str) -> None:
    kind = kind_of(task)
    assert set(DataOptions.model_fields) >= kind.own_options
    options = DataOptions(root="x").model_dump()
    kept = options_of(kind, options)
    assert kind.own_options <= set(kept)
    assert {"root", "classes", "test_fraction"} <= set(kept)
    assert kind.distance(options) >= 0


def test_options_of_other_kinds_are_left_out() -> None:
    options = DataOptions(root="x").model_dump()
    assert "language" not in options_of(kind_of("image_classification"), options)
    assert "min_image_side" not in options_of(kind_of("question_answering"), options)


def test_a_recipe_names_the_kinds_that_exist() -> None:
    assert get_args(Recipe.model_fields["task"].annotation) == tasks.KINDS


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match="unknown task"):
        kind_of("painting")


def test_the_data_of_a_kind_need_no_torch() -> None:
    code = "import sys, regraft.data.kinds; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
