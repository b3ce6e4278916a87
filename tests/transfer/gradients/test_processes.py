"""Several processes take the same step as one process that sees all examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from regraft.transfer.gradients import build_gradients
from tests.transfer.gradients.support import TwoHeads, gradients_of

OPTIONS: list[dict[str, Any]] = [
    {"kind": "pcgrad"},
    {"kind": "gradnorm", "alpha": 1.0, "learning_rate": 0.1},
    {"kind": "uncertainty", "learning_rate": 0.1},
    {"kind": "agem"},
]


def steps(options: dict[str, Any], model: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The gradients of three steps on tasks that want opposite answers of one head."""
    combination = build_gradients(options, seed=3)
    second = "memory" if options["kind"] == "agem" else "label:b"
    found = []
    for _ in range(3):
        a, b = model(x)
        losses = {"label:a": ((a + b - y) ** 2).mean(), second: ((a + b + 2 * y) ** 2).mean()}
        parts = gradients_of(combination, losses, list(model.parameters()))
        found.append(torch.cat([one.flatten() for one in parts if one is not None]))
        with torch.no_grad():
            for one in model.parameters():
                one -= 0.1 * one.grad
    return torch.stack(found)


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(8, 6, generator=generator), torch.randn(8, 1, generator=generator)


def one_of_two(rank: int, folder: str) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    x, y = data()
    for options in OPTIONS:
        wrapped = DistributedDataParallel(TwoHeads())
        found = steps(options, wrapped, x[rank::2], y[rank::2])
        torch.save(found, Path(folder) / f"{options['kind']}{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.e2e
def test_two_processes_take_the_step_of_one(tmp_path: Path) -> None:
    multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    plain = steps({"kind": "sum"}, TwoHeads(), *data())
    for options in OPTIONS:
        first, second = (torch.load(tmp_path / f"{options['kind']}{rank}.pt") for rank in (0, 1))
        expected = steps(options, TwoHeads(), *data())
        assert torch.equal(first, second)
        assert torch.allclose(first, expected, atol=1e-5), options["kind"]
        assert not torch.allclose(expected, plain, atol=1e-3), "the test must see the strategy"
