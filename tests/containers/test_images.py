"""What is in the images, looked at in containers as restricted as a cluster's."""

from __future__ import annotations

import pytest

from tests.containers.conftest import TARGETS, docker, inspected

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]
every = pytest.mark.parametrize("target", TARGETS)
RESTRICTED = ("--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/tmp")


def inside(image: str, *command: str) -> str:
    return docker("run", *RESTRICTED, "--entrypoint", command[0], image, *command[1:])


@every
def test_nobody_is_root_in_it(target: str, images: dict[str, str]) -> None:
    config = inspected("image", images[target])["Config"]
    assert config["User"] == "10001:10001"
    assert inside(images[target], "id", "-u") == "10001"
    assert config["Labels"]["org.opencontainers.image.title"] == f"regraft-{target}"


@every
def test_no_compiler_and_no_cache_was_left_in_it(target: str, images: dict[str, str]) -> None:
    tools = "gcc cc g++ c++ clang ld as make uv"
    script = f"for tool in {tools} sh; do command -v $tool; done; true"
    assert inside(images[target], "sh", "-c", script).split() == ["/usr/bin/sh"]
    caches = "find / -xdev '(' -path '*/.cache/*' -o -path '*/uv/archive*' ')' 2>/dev/null; true"
    assert inside(images[target], "sh", "-c", caches) == ""


@every
def test_the_library_imports_without_a_place_to_write(target: str, images: dict[str, str]) -> None:
    code = "import regraft.cli.main, regraft.steps.validate_data; print(regraft.__version__)"
    assert inside(images[target], "python", "-c", code) == "0.1.0"


def test_the_light_image_has_no_torch(images: dict[str, str]) -> None:
    script = "find / -xdev -iname '*torch*' -not -path '/proc/*' -path '*-packages/*' -maxdepth 6"
    found = {target: inside(images[target], "sh", "-c", f"{script} 2>/dev/null; true")
             for target in TARGETS}  # fmt: skip
    assert "/opt/regraft/lib/python3.11/site-packages/torch" in found["steps-cpu"].split()
    assert not [path for path in found["steps-data"].split() if path.endswith("/torch")]


@pytest.mark.parametrize("target", ["steps-cpu", "serve"])
def test_torch_computes_without_the_libraries_of_gpus(target: str, images: dict[str, str]) -> None:
    code = """
import torch, torchvision, timm
assert not torch.cuda.is_available()
layer = torch.nn.Conv2d(3, 4, 3)
layer(torch.ones(2, 3, 8, 8)).sum().backward()
assert layer.weight.grad.abs().sum() > 0
torch.linalg.svd(torch.eye(3)); torch.fft.fft(torch.ones(8))
try:
    torch.ones(1).cuda()
except (RuntimeError, AssertionError) as error:
    print("a GPU is refused with words:", bool(str(error)))
"""
    assert inside(images[target], "python", "-c", code).endswith("with words: True")
    heavy = "find / -xdev -size +30M -name '*.so*' -path '*/nvidia/*' 2>/dev/null; true"
    names = {path.rpartition("/")[2].split(".")[0]
             for path in inside(images[target], "sh", "-c", heavy).split()}  # fmt: skip
    assert names <= {"libnvshmem_host", "libnvperf_host"}, "the rest is of no use on a CPU"
