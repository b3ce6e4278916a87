"""Several processes that train one model: which of them this is, and what they agree on.

torchrun says in the environment who is who. Where it did not start this process there is one, and
nothing here changes anything. What is chosen by a number (the best epoch, a learning rate, whether
the loss has diverged) is chosen by the same number in all processes: a choice that differed by a
rounding would leave one waiting for the others without an end.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from regraft.errors import UserError

T = TypeVar("T")
_LONGEST_WAIT = timedelta(days=1)  # for a trunk that the first process computes, or its lock


def join() -> None:
    """Meet the other processes, if there are any.

    Raises
    ------
    UserError
        There are more processes on this machine than GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        return
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        own, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if own >= gpus:
            raise UserError(
                "every process needs a GPU of its own",
                where="finetune.processes",
                got=f"{os.environ['LOCAL_WORLD_SIZE']} processes, {gpus} GPU(s)",
                fix=f"finetune.processes={gpus}, or a machine with more GPUs",
            )
        torch.cuda.set_device(own)
    dist.init_process_group("nccl" if on_gpus else "gloo", timeout=_LONGEST_WAIT)


def count() -> int:
    """How many there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Is this the one that writes and speaks?"""
    return not dist.is_initialized() or dist.get_rank() == 0


def agreed(value: T) -> T:
    """The first process's value, for all; every process has to ask."""
    if count() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def mean(values: dict[str, float]) -> dict[str, float]:
    """The mean over all processes; every process has to ask, with the same names."""
    if count() == 1:
        return values
    device = "cuda" if torch.cuda.is_available() else "cpu"
    together = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    dist.all_reduce(together)
    return dict(zip(values, (together / count()).tolist(), strict=True))
