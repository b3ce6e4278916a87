"""Which recordings are there: spoken words by their speakers, each paired with a motion.

`root` is a folder with `speech/index.jsonl` (file, label, speaker) and `sign/index.jsonl` (file,
label, source, optionally signer), a table with the columns path and label (optionally speaker,
motion, signer, lexicon), or a folder of class folders. All that a speaker said is on one side of a
split.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from regraft.data.motion import inspect_motion
from regraft.data.readers import (
    existing_root,
    list_examples,
    refuse_case_collisions,
    restricted,
)
from regraft.data.sign_lexicon import INDEX, ListedSign, listed_signs
from regraft.data.synthetic_words import synthetic_words
from regraft.data.tables import listing_of, raw_table
from regraft.errors import UserError
from regraft.progress import note

COLUMNS = ("speaker", "motion", "signer", "lexicon")
"""Columns of the manifest that only recordings have; each may be ''. `lexicon` is the folder of
signs that a motion was taken from, `unlabelled_motions` are others in it."""


def list_recordings(
    root: Path,
    *,
    store: Path,
    source_domain: str,
    target_domain: str,
    classes: list[str],
    auxiliary_labels: Sequence[str] = (),
    sign_source: str = "",
    synthetic_voices: int = 0,
) -> pd.DataFrame:
    """The listing (see `readers.list_examples`) of recordings, with `COLUMNS`.

    `sign_source` names whose signs are paired with the words; '' takes the source that has most
    words (then most signs). `synthetic_voices` say every word too, into `store`, to be trained on;
    a table that says who trains (column split) gets none.

    Raises UserError as `readers.list_examples`, and where no sign comes from `sign_source`.
    """
    root = existing_root(Path(root))
    table = root / "speech" / INDEX if root.is_dir() else root
    domains = [name for name in (source_domain, target_domain) if name]
    if table.is_file():
        raw = raw_table(table)
        raw = raw.rename(columns={} if "path" in raw else {"file": "path"})
        listing = listing_of(raw, table, domains=domains, auxiliary_labels=auxiliary_labels)
        refuse_case_collisions(listing.attrs["classes"], where=str(table))
        listing = restricted(listing, classes, where=str(table))
    else:
        listing = list_examples(
            root,
            source_domain=source_domain,
            target_domain=target_domain,
            classes=classes,
            auxiliary_labels=auxiliary_labels,
        )
    attrs = listing.attrs
    listing = _with_speakers(listing)
    if "motion" in listing:
        listing = _with_own_motions(listing, table.parent)
    elif root.is_dir() and (root / "sign" / INDEX).is_file():
        listing = _paired(listing, root / "sign", sign_source)
    listing = listing.assign(**{name: "" for name in COLUMNS if name not in listing})
    if synthetic_voices and "split" not in listing:
        listing = _with_voices(listing, synthetic_voices, store, source_domain)
    listing.attrs = attrs
    return listing


def _with_speakers(listing: pd.DataFrame) -> pd.DataFrame:
    """A speaker is a group, and a group a speaker, where only one of them is said."""
    none = pd.Series("", index=listing.index)
    speakers, groups = listing.get("speaker", none), listing.get("group", none)
    speakers = speakers.fillna("").astype(str)
    return listing.assign(speaker=speakers, group=groups.where(groups != "", speakers))


def _with_own_motions(listing: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Paths of motions from where the table is; a row whose motion cannot be used has a reason."""
    paths = _beside(listing["motion"], folder)
    problems = {path: _problem(Path(path)) for path in set(paths) - {""}}
    found = listing.assign(motion=paths)
    if "lexicon" in found:
        found["lexicon"] = _beside(found["lexicon"], folder)
        _of_other_sources(found)  # refuses now what would stop the training
    for row, path in enumerate(paths):
        reason, detail = problems.get(path, ("", ""))
        if reason and not found["reason"].iat[row]:
            found.loc[found.index[row], ["reason", "detail"]] = [f"motion_{reason}", detail]
    return found


def _beside(values: pd.Series, folder: Path) -> list[str]:
    """Paths that are given from a folder, whole; '' where there is none."""
    given = values.fillna("").astype(str)
    return [str((folder / value).resolve()) if value else "" for value in given]


def _paired(listing: pd.DataFrame, folder: Path, source: str) -> pd.DataFrame:
    """Every recording with a sign of its word, the signs of a word in turn."""
    signs = _signs_of(set(listing["label"].dropna()), folder, source)
    turns = listing.groupby("label", dropna=False).cumcount()
    motions, signers = [], []
    for label, turn in zip(listing["label"], turns, strict=True):
        own = signs.get(str(label).casefold(), [])
        chosen = own[turn % len(own)] if own else None
        motions.append(str(chosen.path) if chosen else "")
        signers.append(chosen.signer if chosen else "")
    lexicons = [str(folder.resolve()) if motion else "" for motion in motions]
    return listing.assign(motion=motions, signer=signers, lexicon=lexicons)


def _signs_of(words: set[str], folder: Path, source: str) -> dict[str, list[ListedSign]]:
    """The usable signs of each word, of one source alone: sign languages differ."""
    wanted = {word.casefold() for word in words}
    by_source: dict[str, list[ListedSign]] = defaultdict(list)
    for sign in listed_signs(folder, [source] if source else []):
        if sign.label.casefold() in wanted:
            by_source[sign.source].append(sign)
    if not by_source:
        return {}
    chosen = max(
        sorted(by_source), key=lambda name: (_words_of(by_source[name]), len(by_source[name]))
    )
    problems = {sign.path: _problem(sign.path)[0] for sign in by_source[chosen]}
    _say_unusable(problems)
    found: dict[str, list[ListedSign]] = defaultdict(list)
    for sign in by_source[chosen]:
        if not problems[sign.path]:
            found[sign.label.casefold()].append(sign)
    return found


def _words_of(signs: list[ListedSign]) -> int:
    return len({sign.label for sign in signs})


def unlabelled_motions(rows: pd.DataFrame) -> list[Path]:
    """Of the lexicons of these rows of a manifest, the motions that can be used and come from other
    sources than the rows' own: other sign languages and signers, to learn motion from, not words.
    Nothing of a source that one of the rows' motions is from is among them, whatever it signs.

    Raises UserError for a motion that its lexicon does not list: its source is not known.
    """
    found = _of_other_sources(rows) if "lexicon" in rows else []
    problems = {path: _problem(path)[0] for path in found}
    _say_unusable(problems)
    return [path for path in found if not problems[path]]


def _of_other_sources(rows: pd.DataFrame) -> list[Path]:
    paired = rows[(rows["motion"].fillna("") != "") & (rows["lexicon"].fillna("") != "")]
    found: list[Path] = []
    for folder, own in paired.groupby("lexicon")["motion"]:
        signs = {sign.path.resolve(): sign for sign in listed_signs(Path(str(folder)), [])}
        motions = {Path(path).resolve() for path in own}
        if motions - signs.keys():
            raise UserError(
                "a motion is not in its lexicon",
                where=f"{folder}/{INDEX}",
                got=str(min(motions - signs.keys())),
                expected="every motion of a row that names this lexicon, to know its source",
                fix="list it there, or leave the cell of the column lexicon empty",
            )
        served = {signs[path].source for path in motions}
        found += [sign.path for sign in signs.values() if sign.source not in served]
    return found


def _say_unusable(problems: dict[Path, str]) -> None:
    bad = [f"{path.name} ({reason})" for path, reason in problems.items() if reason]
    if bad:
        note(f"{len(bad)} of {len(problems)} signs cannot be used: {', '.join(bad[:5])}")


def _problem(path: Path) -> tuple[str, str]:
    """(reason, detail) where a motion cannot be used, else ('', '')."""
    try:
        found = inspect_motion(path)
    except OSError as error:
        return "missing_file", str(error.strerror)
    return str(found["reason"]), str(found["detail"])


def _with_voices(listing: pd.DataFrame, voices: int, store: Path, domain: str) -> pd.DataFrame:
    """The same words by synthetic voices, pinned to training."""
    words = sorted(set(listing["label"].dropna()))
    said = synthetic_words(words, voices, store)
    rows = pd.DataFrame(said, columns=["path", "label", "speaker"])
    names = [Path(path).name for path in rows["path"]]
    rows = rows.assign(
        id=[f"synthetic/{name}" for name in names],
        group=rows["speaker"],
        domain=domain,
        split="train",
        **dict.fromkeys(("reason", "detail", *COLUMNS[1:]), ""),
    )
    return pd.concat([listing.assign(split=""), rows], ignore_index=True)
