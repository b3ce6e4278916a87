"""A fine-tuning by several processes: they are started, watched, and started again after a kill.

torchrun starts them on this machine. REGRAFT_LAUNCHER names another command that does, possibly on
other machines (`pipelines/train_job.py` is one): it is given the file of the arguments and has to
run `torchrun -m regraft.steps.launching FILE`. Whoever fails with something to say writes it beside
that file (`failed`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from regraft.data.files import atomic_write
from regraft.errors import UserError
from regraft.progress import note
from regraft.steps.recording import modelling
from regraft.steps.workspace import digest, work_dir

LAUNCHER = "REGRAFT_LAUNCHER"
_ENDS_WITH_INPUT = "REGRAFT_ENDS_WITH_INPUT"
_FAILURE = "failure.json"
_STARTS = 3
_READ = ("manifest", "features", "shift")  # what the processes read; `out_dir` is what they write


def is_launched(processes: int) -> bool:
    """Are other processes to do the work? In one of those themselves: no."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return False
    return processes > 1 or bool(os.environ.get(LAUNCHER))


def launch(arguments: dict[str, Any]) -> None:
    """Let processes run `regraft.steps.finetune.finetune(**arguments)` together.

    Raises
    ------
    UserError
        What one of the processes, or the launcher, refused.
    RuntimeError
        What one of them failed with; or they were killed time and again.
    """
    launcher = shlex.split(os.environ.get(LAUNCHER, ""))
    read = [Path(arguments[name]) for name in _READ if arguments[name]]
    files = [file for path in read for file in _files(path)]
    rest = {name: value for name, value in arguments.items() if name not in {*_READ, "out_dir"}}
    with work_dir("launched", files=digest(*files), **rest) as folder, modelling():
        (folder / _FAILURE).unlink(missing_ok=True)
        common = _copied(arguments, folder) if launcher else arguments
        file = folder / "arguments.json"
        file.write_text(json.dumps(common), encoding="utf-8")
        if launcher:
            _run([*launcher, str(file)], folder)
            shutil.copytree(common["out_dir"], arguments["out_dir"], dirs_exist_ok=True)
        else:
            _run(_torchrun(arguments["options"]["processes"], file), folder, starts=_STARTS)


def _torchrun(processes: int, file: Path) -> list[str]:
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1",
        f"--nproc-per-node={processes}", "-m", __name__, str(file),
    ]  # fmt: skip


def _copied(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The arguments with everything that is read and written in `folder`, which is in the home:
    other machines see that, and not the files of this step."""
    common = dict(arguments)
    for name in _READ:
        if arguments[name]:
            source, target = Path(arguments[name]), folder / "inputs" / name
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            for file in _files(source):
                copy = target / (file.relative_to(source) if source.is_dir() else file.name)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
            common[name] = str(target if source.is_dir() else target / source.name)
    common["out_dir"] = str(folder / "out")
    return common


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _run(command: list[str], folder: Path, *, starts: int = 1) -> None:
    """Run until it ends well, or somebody has said why it cannot. The processes hold the reading
    end of a pipe and end with this one, however it ends."""
    environment = {**os.environ, _ENDS_WITH_INPUT: "1"}
    for start in range(1, starts + 1):
        with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as launched:
            code = launched.wait()
        if code == 0:
            return
        if (folder / _FAILURE).is_file():
            raise _said(json.loads((folder / _FAILURE).read_text(encoding="utf-8")))
        if start < starts:
            note("one of the processes was killed; all start again from the last checkpoint")
    raise RuntimeError(
        f"the processes ended {starts} times without a word (exit code {code}; killed, or out of "
        "memory?)"
    )


def _said(failure: dict[str, Any]) -> Exception:
    if failure["user_error"]:
        return UserError(failure["error"])
    return RuntimeError(f"{failure['error_type']} in one of the processes: {failure['error']}")


@contextlib.contextmanager
def failures_beside(file: Path) -> Iterator[None]:
    """What is raised inside is written beside `file`; of several processes the first one counts.
    That a process lost the others is no failure of its own, and not written."""
    try:
        yield
    except Exception as error:
        failure = {
            "error": str(error),
            "error_type": type(error).__name__,
            "user_error": isinstance(error, UserError),
        }
        target = file.with_name(_FAILURE)
        if not _lost_the_others(error) and not target.exists():
            text = json.dumps(failure)
            atomic_write(target, partial(Path.write_text, data=text, encoding="utf-8"))
        raise


def _lost_the_others(error: Exception) -> bool:
    dist = sys.modules.get("torch.distributed")  # a launcher has none
    return (dist is not None and isinstance(error, dist.DistError)) or "gloo" in str(error)


def _end_with_the_launcher() -> None:
    """End this process when the step that started it is gone: nobody waits for the result, and the
    next start must not find two at the same checkpoint."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    if os.environ.get(_ENDS_WITH_INPUT):
        threading.Thread(target=watch, name="end-with-the-launcher", daemon=True).start()


def main(file: Path) -> None:
    """What torchrun runs: one of the processes."""
    from regraft.steps.finetune import finetune

    _end_with_the_launcher()
    with contextlib.ExitStack() as stack:
        if os.environ["RANK"] != "0":  # the first one speaks for all
            os.environ["REGRAFT_PROGRESS"] = "json"
            silent = stack.enter_context(Path(os.devnull).open("w"))
            stack.enter_context(contextlib.redirect_stdout(silent))
        stack.enter_context(failures_beside(file))
        finetune(**json.loads(file.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
