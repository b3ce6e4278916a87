"""`regraft sign`: words to a signing figure."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from regraft.errors import UserError


@click.command()
@click.argument("text")
@click.option(
    "--signs",
    type=click.Path(file_okay=False),
    help="Folder with index.jsonl (file, label, source per line) and motion files (.pose, .npz).",
)
@click.option(
    "--model",
    help="Instead of --signs: let the champion of this name (NAME@alias, NAME/version) sign.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    help="Only signs from here; may be repeated. Sign languages differ: do not mix them.",
)
@click.option("--out", type=click.Path(dir_okay=False), default="signs.html", show_default=True)
@click.option("--pose", type=click.Path(dir_okay=False), help="Write the motion as .pose too.")
@click.option("--gif", type=click.Path(dir_okay=False), help="Write an animated GIF too.")
@click.option("--json", "as_json", is_flag=True, help="Print the parts as JSON.")
def sign(
    text: str,
    signs: str | None,
    model: str | None,
    sources: tuple[str, ...],
    out: str,
    pose: str | None,
    gif: str | None,
    as_json: bool,
) -> None:
    """Let a figure sign TEXT with recorded signs, or with those that a model of speech to sign
    makes, and write it as a page that plays offline.

    Words without a sign are fingerspelled where all their letters have one, otherwise the page says
    that they are unknown.
    """
    from regraft.data.motion import write_pose
    from regraft.data.sign_lexicon import FPS, read_lexicon
    from regraft.evaluation.sign_player import write_gif, write_player
    from regraft.serving.predict import signer_of
    from regraft.tasks.sign_sentence import Signs, as_motion, sentence

    if (signs is None) == (model is None):
        raise UserError(
            "signs come from a folder or from a model",
            got="both" if signs else "neither",
            expected="--signs FOLDER or --model NAME",
        )
    lexicon: Signs = read_lexicon(Path(signs), list(sources)) if signs else signer_of(str(model))
    frames, found = sentence(text, lexicon)
    if not len(frames):
        raise UserError(
            "none of the words can be signed",
            where=signs or str(model),
            got=text,
            expected=f"one of {len(lexicon.labels)} labels: {', '.join(lexicon.labels[:40])}",
        )
    parts = [dataclasses.asdict(part) for part in found]
    write_player(Path(out), frames, fps=FPS, parts=parts)
    if pose:
        write_pose(as_motion(frames), Path(pose))
    if gif:
        write_gif(Path(gif), frames, fps=FPS)
    if as_json:
        click.echo(json.dumps({"page": out, "frames": len(frames), "fps": FPS, "parts": parts}))
        return
    for part in found:
        if part.how != "transition":
            click.echo(f"{part.how}: {part.text}")
    click.echo(f"{out}: {len(frames) / FPS:.1f} s")
