"""Options of the data: where it lies, what is taken from it, what is refused."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from regraft.recipe.base import Options


class DataOptions(Options):
    """Which examples, and how they are split."""

    root: str
    """Folder `root/<class>/*`, or `root/<domain>/<class>/*` with `source_domain` set, or a CSV or
    JSONL manifest with the columns path and label (optional: domain, group, and split, which pins a
    row to train, val, test, unlabelled or unused). For questions a CSV or JSONL table with the
    columns question and intent (optional: answer, topic, source), or a folder of such tables, each
    of which is a domain. For pairs a folder with metadata.jsonl or metadata.csv, or such a table,
    with the columns file_name, text (question, caption, report) and label (answer, target). For
    recordings a folder with speech/index.jsonl (file, label, speaker) and sign/index.jsonl (file,
    label, source), or a table (optional: speaker, motion)."""
    classes: list[str] = []
    """Restrict to these classes; empty means all that are found."""
    source_domain: str = ""
    """Name of the domain that has labels (for example `lab`); empty when there are no domains."""
    target_domain: str = ""
    """Name of the domain the model must work in (for example `field`)."""
    target_labels_per_class: int = Field(default=0, ge=0)
    """How many labels per class of the target domain may be used for training."""
    images_per_class: int = Field(default=0, ge=0)
    """Labelled images per class that may be used, validation included; 0 means all."""
    unlabelled_rest: bool = False
    """Without a target domain: what `images_per_class` leaves over is not unused but unlabelled,
    its labels unread (a rehearsal; a table says it by rows with an empty label)."""
    auxiliary_labels: list[str] = []
    """Further columns of a table that are learned beside the label, with a shared backbone (for
    example `[crop, disease]`). An empty cell means not labelled for that task.
    The teacher answers all of them, a student the label alone."""
    test_fraction: float = Field(default=0.25, gt=0, lt=1)
    """Share of the groups of every class kept for the test."""
    target_test_fraction: float = Field(default=0.5, gt=0, lt=1)
    """The same for the target domain; the rest is the unlabelled pool (and the few labels)."""
    validation_fraction: float = Field(default=0.15, ge=0, lt=1)
    """Share of the labelled images used to make choices, where a class has at least 20 labels;
    with fewer, choices are made by cross-validation and all labels are used for training."""
    min_images_per_class: int = Field(default=4, ge=2)
    """The run stops before training when a class has fewer usable images."""
    rare_classes: Literal["refuse", "keep"] = "refuse"
    """Pairs: `keep` learns classes with fewer examples too, as an answer that one question in a
    thousand has; what only test examples have counts as a wrong answer."""
    min_image_side: int = Field(default=32, ge=1)
    """Images with a shorter side (pixels) are quarantined."""
    max_image_pixels: int = Field(default=50_000_000, ge=1)
    """Images with more pixels are quarantined unread (decompression bombs)."""
    max_imbalance: float = Field(default=20.0, ge=1)
    """Warn when the largest class has more than this many times the images of the smallest."""
    max_characters: int = Field(default=10_000, ge=1)
    """Texts with more characters are quarantined."""
    language: Literal["", "en", "de", "fr", "es", "it", "pt"] = "en"
    """Texts that are clearly in another language are quarantined; empty takes any."""
    min_seconds: float = Field(default=0.1, gt=0)
    """Recordings that are shorter are quarantined."""
    max_seconds: float = Field(default=60.0, gt=0)
    """Recordings that are longer are quarantined unread. A word is read in the loudest 1.28 s."""
    sign_source: str = ""
    """Recordings: whose signs (column source of sign/index.jsonl) are paired with the words; empty
    takes the source that has most of the words."""
    synthetic_voices: int = Field(default=0, ge=0, le=500)
    """Recordings: so many synthetic voices say every word too, to be trained on."""
    near_duplicate_distance: int = Field(default=68, ge=0, le=256)
    """Photos whose 256-bit perceptual hashes differ in at most this many bits count as shots of one
    scene and stay on one side of a split."""
