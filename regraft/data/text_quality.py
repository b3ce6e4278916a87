"""What is checked of questions beside what every example is checked for."""

from __future__ import annotations

import pandas as pd

from regraft.data.quality import Check, Suite, sides_of
from regraft.data.texts import clean, flags_of, has_personal_data, same_question

_FLAG = "ExpectColumnValuesToNotMatchRegex"

CONTRADICTING = "contradicting_answers"


def with_answer_flags(usable: pd.DataFrame) -> pd.DataFrame:
    """Add to the quality flags what is wrong with answers: contradicting_answers (one question has
    different answers), markup_in_answer, personal_data_in_answer, no_answer (others have one)."""
    answers = [clean(answer) for answer in usable["answer"]]
    some = any(answers)
    contradicting = _contradicting(usable, answers)
    flags = []
    for number, answer in enumerate(answers):
        own = [flag for flag in str(usable["quality_flags"].iat[number]).split(",") if flag]
        own += [CONTRADICTING] if contradicting[number] else []
        own += ["markup_in_answer"] if "markup" in flags_of(answer) else []
        own += ["personal_data_in_answer"] if has_personal_data(answer) else []
        own += ["no_answer"] if some and not answer else []
        flags.append(",".join(sorted(own)))
    return usable.assign(quality_flags=flags)


def _contradicting(usable: pd.DataFrame, answers: list[str]) -> list[bool]:
    """Which rows ask what another row asks, and answer differently."""
    key = usable["perceptual_hash"].where(usable["perceptual_hash"] != "", usable["id"])
    said = pd.Series([answer.casefold() for answer in answers], index=usable.index)
    different = said.where(said != "").groupby(key).transform("nunique")
    return (different > 1).tolist()


def _sides_of_questions(manifest: pd.DataFrame) -> pd.DataFrame:
    """Near-duplicates are looked for anew, so that the check knows nothing of the grouping."""
    asked = pd.Series([same_question(text) for text in manifest["text"]], index=manifest.index)
    return manifest.assign(
        question_sides=sides_of(manifest, asked.where(asked != "", manifest["id"]))
    )


TEXT_SUITE = Suite(
    problems={
        "empty_text": "the question has a word in it",
        "too_long": "the question is not too long",
        "not_text": "the file is UTF-8 text",
        "other_language": "the question is in the expected language",
        "unreadable": "the file may be read",
        "missing_file": "the file that the table names exists",
        "link_outside_root": "links stay inside the data root",
        "no_label": "the question has an intent",
        "exact_duplicate": "the question occurs once",
        "conflicting_labels": "the same question has one intent",
    },
    flags={
        "near_duplicate_other_label": "questions in the same words have one intent",
        "control_characters": "there are no control characters",
        r"(?:^|,)markup(?:,|$)": "the question has no markup",
        "markup_in_answer": "the answer has no markup",
        r"(?:^|,)personal_data(?:,|$)": "the question has no e-mail address or telephone number",
        "personal_data_in_answer": "the answer has no e-mail address or telephone number",
        CONTRADICTING: "one question has one answer",
        "no_answer": "the question has an answer, as others have",
    },
    prepared=_sides_of_questions,
    manifest=(
        Check(
            "manifest",
            "ExpectColumnValuesToBeBetween",
            "question_sides",
            "no question is on two sides in the same words",
            {"max_value": 1},
        ),
        Check("manifest", "ExpectColumnValueLengthsToBeBetween", "text", "questions have text",
              {"min_value": 1}),
    ),
)  # fmt: skip
