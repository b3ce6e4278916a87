"""`regraft chat`: talk to a champion in the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from regraft.errors import UserError

if TYPE_CHECKING:
    from regraft.tasks.assistant.assistant import Assistant

_ANEW, _END = "/new", "/end"


@click.command()
@click.argument("name")
@click.option(
    "--language-model",
    metavar="NAME|FOLDER",
    default="",
    help="Let this causal language model word the answers; each sentence is checked.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per reply.")
def chat(name: str, language_model: str, as_json: bool) -> None:
    """Talk to the champion of NAME (or NAME@alias, NAME/version) about what it knows.

    One line is one question; earlier ones are remembered until /new, and /end or the end of the
    input ends it. Answers are general information from the passages that they name.

    \b
    regraft chat medical_assistant
    echo 'What is gout?' | regraft chat medical_assistant --json
    """
    from regraft.serving.predict import assistant_of

    assistant = assistant_of(name, language_model=language_model)
    failed = False
    messages: list[dict[str, str]] = []
    for line in _lines():
        if line == _ANEW:
            messages = []
            continue
        try:
            said = _reply(assistant, messages, line, as_json)
        except UserError as error:  # the dialogue goes on without this question
            failed = True
            _refuse(error, as_json)
            continue
        messages += [{"role": "user", "content": line}, {"role": "assistant", "content": said}]
    if failed and not sys.stdin.isatty():
        sys.exit(2)


def _lines() -> Iterator[str]:
    """Questions of the terminal, or of a pipe; blank lines are nothing."""
    asked = sys.stdin.isatty()
    if asked:
        click.echo(f"Ask a question. {_ANEW} forgets the dialogue, {_END} ends it.")
    while True:
        if asked:
            click.echo("> ", nl=False)
        line = sys.stdin.readline()
        if not line or line.strip() == _END:
            return
        if line.strip():
            yield line.strip()


def _reply(
    assistant: Assistant, messages: list[dict[str, str]], question: str, as_json: bool
) -> str:
    dialogue = [*messages, {"role": "user", "content": question}]
    if as_json:
        reply = assistant.reply(dialogue)
        found: dict[str, Any] = {"asked": question, "reply": reply.text, **reply.facts()}
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        reply = assistant.reply(dialogue, lambda piece: click.echo(piece, nl=False))
        click.echo("\n")
    sys.stdout.flush()
    return reply.text


def _refuse(error: UserError, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"error": str(error)}, ensure_ascii=False))
    else:
        click.echo(f"error: {error}", err=True)


@click.command(name="tune-language-model")
@click.argument("name")
@click.option("--language-model", metavar="NAME|FOLDER", required=True, help="What to tune.")
@click.option(
    "--questions",
    type=click.Path(dir_okay=False, exists=True),
    required=True,
    help="Questions of the domain, one a line; none that you measure on later.",
)
@click.option("--out", type=click.Path(file_okay=False), required=True, help="Folder to write.")
@click.option("--epochs", default=3, show_default=True, type=click.IntRange(1))
@click.option("--rank", default=8, show_default=True, type=click.IntRange(1))
@click.option("--learning-rate", default=2e-4, show_default=True, type=click.FloatRange(0))
@click.option("--seed", default=0, show_default=True)
def tune_language_model(
    name: str, language_model: str, questions: str, out: str, **how: Any
) -> None:
    """Teach a language model to say what the passages of NAME say, by LoRA.

    Each question is learned with the passages that the champion finds and the sentences that it
    quotes. The folder holds the adapter, for `regraft chat --language-model` and
    `regraft serve serving.language_model=`.
    """
    from pathlib import Path

    from regraft.serving.predict import assistant_of
    from regraft.tasks.assistant.generation import LanguageModel
    from regraft.tasks.assistant.language_tuning import examples_of, fine_tune

    lines = Path(questions).read_text(encoding="utf-8").splitlines()
    asked = [line.strip() for line in lines if line.strip()]
    assistant = assistant_of(name)
    examples = examples_of(assistant, asked) if asked else []
    tuned, losses = fine_tune(LanguageModel.load(language_model), examples, **how)
    tuned.save(Path(out))
    shown = ", ".join(f"{loss:.3f}" for loss in losses)
    click.echo(f"{out}: learned {len(examples)} questions; loss of the epochs {shown}")
