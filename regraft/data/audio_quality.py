"""What is checked of recordings beside what every example is checked for."""

from __future__ import annotations

import pandas as pd

from regraft.data.quality import Check, Suite, sides_of


def _sides_of_speakers(manifest: pd.DataFrame) -> pd.DataFrame:
    """By the speakers that were given, so that the check knows nothing of the grouping."""
    said = manifest["speaker"].where(manifest["speaker"] != "", manifest["id"])
    return manifest.assign(speaker_sides=sides_of(manifest, said))


AUDIO_SUITE = Suite(
    problems={
        "not_audio": "the file is a recording",
        "corrupt": "the file decodes",
        "truncated": "the file is complete",
        "empty_file": "the file has content",
        "silent": "something is heard",
        "too_short": "the recording is long enough for a word",
        "too_long": "the recording is not too long",
        "not_finite": "the samples are numbers",
        "unreadable": "the file may be read",
        "missing_file": "the file that the table names exists",
        "link_outside_root": "links stay inside the data root",
        "no_label": "the recording has a word",
        "exact_duplicate": "the recording occurs once",
        "conflicting_labels": "the same recording has one word",
    },
    flags={"clipping": "the recording is not clipped"},
    prepared=_sides_of_speakers,
    manifest=(
        Check(
            "manifest",
            "ExpectColumnValuesToBeBetween",
            "speaker_sides",
            "no speaker is on two sides",
            {"max_value": 1},
        ),
    ),
)
