"""GradNorm: learned task weights that let all tasks train at one pace.

Source: Chen et al., "GradNorm", ICML 2018, equations 1 and 2, algorithm 1. With G_i =
w_i |grad_W L_i|, the loss ratio l_i = L_i(t) / L_i(0), its relative size r_i = l_i / mean(l), and
the target mean(G) r_i^alpha, held constant: minimise sum_i |G_i - mean(G) r_i^alpha| over the
w_i, then scale the w_i to sum to the number of tasks. G_i is linear in w_i, so the gradient is
sign(G_i - target_i) |grad_W L_i| in closed form.

W is the last matrix among `parameters` that every main loss reaches: the end of the shared
encoder, since each task has its own head. Extra terms and memory keep weight 1. A weight is kept
above a hundredth, as Adam's step knows no boundary at 0.

>>> import torch
>>> shared = torch.nn.Parameter(torch.ones(1, 1))
>>> losses = {"label:a": shared.sum(), "label:b": 10 * shared.sum()}
>>> combination = Combination(alpha=0.0, learning_rate=0.1)
>>> combination.backward(losses, [shared], torch.Tensor.backward)
>>> {name: round(weight, 2) for name, weight in combination.weights.items()}
{'label:a': 1.1, 'label:b': 0.9}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import Parameter

from regraft.errors import UserError
from regraft.transfer.gradients.learned import LearnedNumbers
from regraft.transfer.gradients.measured import (
    gradient,
    main_names,
    over_processes,
    weighted_sum,
)

_SMALLEST = 0.01


class Combination:
    """Weighs the main losses; a step uses the weights that the steps before it have learned."""

    needs_memory = False

    def __init__(self, *, alpha: float, learning_rate: float) -> None:
        self._alpha = alpha
        self._weights = LearnedNumbers(initial=1.0, learning_rate=learning_rate)
        self._first: dict[str, float] = {}
        self._shared: Parameter | None = None

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each main loss, their sum the number of tasks."""
        return self._weights.values

    def backward(
        self,
        losses: dict[str, torch.Tensor],
        parameters: list[Parameter],
        backward: Callable[[torch.Tensor], None],
    ) -> None:
        names = main_names(losses)
        if len(names) < 2:
            backward(weighted_sum(losses, {}))
            return
        used = dict(self._weights.begin(names))
        main = [losses[name] for name in names]
        shared = self._last_shared(main, parameters)
        norms = torch.stack([gradient(loss, [shared]).norm() for loss in main]).cpu()
        backward(weighted_sum(losses, used))
        values = over_processes(torch.stack([loss.detach() for loss in main])).cpu().float()
        self._learn(names, norms, values)

    def _learn(self, names: list[str], norms: torch.Tensor, values: torch.Tensor) -> None:
        if not self._first:
            self._first = dict(zip(names, values.tolist(), strict=True))
        ratios = values / torch.tensor([self._first[name] for name in names]).clamp(min=1e-12)
        pace = (ratios / ratios.mean().clamp(min=1e-12)) ** self._alpha
        own = torch.tensor([self.weights[name] for name in names]) * norms
        direction = torch.sign(own - own.mean() * pace) * norms
        moved = self._weights.step(direction).clamp(min=_SMALLEST)
        self._weights.replace(moved * len(names) / moved.sum())

    def _last_shared(self, main: list[torch.Tensor], parameters: list[Parameter]) -> Parameter:
        """Found once; looked for again when a stage trains other parameters."""
        if self._shared is not None and any(self._shared is one for one in parameters):
            return self._shared
        matrices = [one for one in parameters if one.requires_grad and one.ndim > 1]
        reached = [
            torch.autograd.grad(loss, matrices, retain_graph=True, allow_unused=True)
            for loss in main
            if matrices
        ]
        for one, *found in reversed(list(zip(matrices, *reached, strict=True))):
            if all(part is not None for part in found):
                self._shared = one
                return one
        raise UserError(
            "the tasks share no trainable weights, so there is nothing to balance",
            where="finetune.gradients",
            got="gradnorm with a frozen encoder",
            expected="a plan that trains blocks of the encoder",
        )

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self._weights.state_dict(), "first": dict(self._first)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._weights.load_state_dict(state["weights"])
        self._first = dict(state["first"])
