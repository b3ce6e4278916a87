"""What a step computes on."""

from __future__ import annotations

import os

# glibc gives freed tensors back to the system at once and pays for fresh pages at the next
# convolution: half of the time of a forward pass on CPU. Keeping them needs two numbers. Threads
# that wait by spinning cost several times the work where other processes want the cores too.
PROCESS_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31),
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_THREAD_TIMEOUT": "1",
}
"""What a process that trains should be started with."""


def use_threads(threads: int) -> None:
    """Let torch use `threads` CPU threads; 0 means the cores this process may run on, shared with
    the others that torchrun started here."""
    import torch

    cores, sharing = len(os.sched_getaffinity(0)), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(threads or max(cores // sharing, 1))


def use_device() -> str:
    """`cuda` where there is a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
