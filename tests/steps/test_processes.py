"""Several processes train what one trains, go on where one was killed, and the other way round."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pipelines import train_job
from pipelines.profile import load_profile
from regraft.data.examples.leaves import draw_leaf
from regraft.errors import UserError
from regraft.steps.extract_features import extract_features
from regraft.steps.finetune import finetune
from regraft.steps.launching import failures_beside
from regraft.steps.validate_data import validate_data
from tests.pipelines.fake_cluster import serving
from tests.pipelines.fake_trainer import FakeTrainer
from tests.pipelines.test_compiled import ROOT
from tests.pipelines.test_train_job import kubeconfig

OPTIONS: dict[str, Any] = {
    "plan": {"kind": "last_n", "blocks": 2, "epochs": 12},
    "min_labels_per_class": 0,
    "probe_is_enough": 1,
    "threads": 1,
    "batch_size": 7,  # shares differ in size, and the last batch is another
}


class Step:
    """A fine-tuning step on a tiny problem, as often as one likes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for label in ("healthy", "powdery_mildew"):
            (root / "photos" / label).mkdir(parents=True)
            for index in range(28):
                picture = Image.fromarray(draw_leaf("lab", label, index))
                picture.save(root / "photos" / label / f"{index}.jpg", quality=90)
        how: dict[str, Any] = {"task": "image_classification", "seed": 0}
        data = {"root": str(root / "photos")}
        validate_data(**how, data=data, out_dir=root / "data")
        extract_features(
            **how, manifest=root / "data" / "manifest.parquet", backbone={"name": "starter"},
            threads=1, features={"views": 1, "augmented_views": 0}, out_dir=root / "features",
        )  # fmt: skip

    def arguments(self, out: str, processes: int) -> dict[str, Any]:
        return {
            "task": "image_classification",
            "manifest": str(self.root / "data" / "manifest.parquet"),
            "features": str(self.root / "features"),
            "options": OPTIONS | {"processes": processes},
            "test_views": 1,
            "seed": 0,
            "code_version": "c0de",
            "out_dir": str(self.root / out),
            "shift": "",
        }

    def run(self, out: str, processes: int = 1) -> None:
        finetune(**self.arguments(out, processes))

    def start(self, out: str, processes: int) -> subprocess.Popen[str]:
        """The step as a process of its own, as the pipeline runs it."""
        code = "import json, sys; from regraft.steps.finetune import finetune as f; "
        code += "f(**json.loads(sys.argv[1]))"
        command = [sys.executable, "-c", code, json.dumps(self.arguments(out, processes))]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def epochs_done(self) -> int:
        for path in (self.root / "home" / "work").glob("finetune-*/checkpoint.pt"):
            epoch: int = torch.load(path)["progress"]["epoch"]
            return epoch
        return 0

    def losses(self, out: str) -> list[float]:
        history = json.loads((self.root / out / "history.json").read_text(encoding="utf-8"))
        return [epoch[name] for stage in history["stages"] for epoch in stage["epochs"]
                for name in ("train_loss", "val_loss") if name in epoch]  # fmt: skip

    def weights(self, out: str) -> dict[str, torch.Tensor]:
        return load_file(self.root / out / "model.safetensors")


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("step")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_HOME", str(root / "home"))
        found = Step(root)
        found.run("one")
        yield found


def alike(step: Step, out: str) -> None:
    """Up to the rounding of sums in another order, which Adam carries on."""
    assert step.losses(out) == pytest.approx(step.losses("one"), rel=2e-3, abs=2e-4)
    expected = step.weights("one")
    for name, value in step.weights(out).items():
        torch.testing.assert_close(value, expected[name], rtol=2e-2, atol=2e-3)


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def workers() -> list[int]:
    """The processes that torchrun started, from this test or from what it started."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile, or is none
        if b"regraft.steps.launching" in words and b"torch.distributed.run" not in words:
            found.append(int(folder.name))
    return found


@pytest.mark.e2e
def test_two_processes_go_on_after_a_kill_and_one_goes_on_after_them(step: Step) -> None:
    """kill -9 of one of two processes, then of the whole step; one process ends what they began."""
    running = step.start("two and one", processes=2)
    until(lambda: step.epochs_done() >= 2, running)
    first = workers()
    assert len(first) == 2
    os.kill(first[0], signal.SIGKILL)
    done = step.epochs_done()
    until(lambda: step.epochs_done() >= done + 2, running)
    assert not set(first) & set(workers())
    running.kill()
    said = running.communicate()[1]
    assert "one of the processes was killed" in said
    assert said.count("continuing after stage 1") == 1, "one of them speaks"
    until_gone = time.monotonic() + 60
    while workers():
        assert time.monotonic() < until_gone, "they outlive the step that started them"
        time.sleep(0.1)
    assert 0 < step.epochs_done() < OPTIONS["plan"]["epochs"]
    step.run("two and one")
    alike(step, "two and one")


@pytest.mark.e2e
def test_two_nodes_of_a_train_job_go_on_with_what_one_process_began(
    step: Step, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Through a cluster that speaks HTTP and runs the nodes of a TrainJob as processes."""
    running = step.start("one and two", processes=1)
    until(lambda: step.epochs_done() >= 2, running)
    running.kill()
    running.communicate()
    before = step.epochs_done()
    assert 2 <= before < OPTIONS["plan"]["epochs"]
    profile = load_profile(
        ROOT / "infra" / "profiles" / "cluster.yaml",
        ["namespace=team", "trainer={nodes: 2}", f"environment.REGRAFT_HOME={step.root / 'home'}"],
    )
    for name, value in train_job.launcher(profile).items():
        monkeypatch.setenv(name, value)
    programs = Path(sys.executable).parent  # `python` of an image is the one with the library
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with serving(FakeTrainer()) as trainer:
        (tmp_path / "kubeconfig").write_text(kubeconfig(trainer.url))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        step.run("one and two")
    assert trainer.calls.count("POST") == 1
    assert trainer.jobs == {}, "and it is tidied away"
    alike(step, "one and two")
    assert not list((step.root / "home" / "work").glob("*/checkpoint.pt"))


def test_a_launcher_s_processes_see_only_the_home(
    step: Step, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What they read and write is in the home, which other machines share."""
    script = tmp_path / "launcher.py"
    script.write_text(
        "import json, pathlib, sys\n"
        "given = json.loads(pathlib.Path(sys.argv[1]).read_text())\n"
        "out = pathlib.Path(given['out_dir']); out.mkdir()\n"
        "read = {n: given[n] for n in ('manifest', 'features')}\n"
        "assert all(pathlib.Path(p).exists() for p in read.values())\n"
        "out.joinpath('seen.json').write_text(json.dumps([*read.values(), str(out)]))\n"
    )
    monkeypatch.setenv("REGRAFT_LAUNCHER", f"{sys.executable} {script}")

    def left() -> set[Path]:
        return set((step.root / "home" / "work").glob("launched-*/arguments.json"))

    before = left()  # of runs that were killed with more processes than went on
    step.run("launched")
    seen = json.loads((step.root / "launched" / "seen.json").read_text())
    assert all(Path(path).is_relative_to(step.root / "home") for path in seen)
    assert left() == before


def test_what_a_process_refuses_is_the_step_s_error(
    step: Step, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "launcher.py"
    script.write_text(
        "import pathlib, sys\n"
        "from regraft.errors import UserError\n"
        "from regraft.steps.launching import failures_beside\n"
        "with failures_beside(pathlib.Path(sys.argv[1])):\n"
        "    raise UserError('no such queue', fix='name another')\n"
    )
    monkeypatch.setenv("REGRAFT_LAUNCHER", f"{sys.executable} {script}")
    with pytest.raises(UserError, match="no such queue"):
        step.run("refused")
    monkeypatch.setenv("REGRAFT_LAUNCHER", "false")
    with pytest.raises(RuntimeError, match="without a word"):
        step.run("silent")
    assert not (step.root / "silent").exists()


def test_the_first_failure_counts_and_a_lost_peer_is_none(tmp_path: Path) -> None:
    file, failure = tmp_path / "arguments.json", tmp_path / "failure.json"
    with pytest.raises(RuntimeError), failures_beside(file):
        raise RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer")
    assert not failure.exists()
    for text in ("first", "second"):
        with pytest.raises(ValueError), failures_beside(file):
            raise ValueError(text)
    assert json.loads(failure.read_text())["error"] == "first"
