"""What a step computes on."""

from __future__ import annotations

import os


def use_threads(threads: int) -> None:
    """Let torch use `threads` CPU threads; 0 means the cores this process may run on."""
    import torch

    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))


def use_device() -> str:
    """`cuda` where there is a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
