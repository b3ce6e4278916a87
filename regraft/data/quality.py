"""The Great Expectations suite: what came in, what each class has, what goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from regraft.data.pins import lost_pins

_SIDES = ("train", "val", "test")
_SOURCE = "regraft"

_IMAGE_PROBLEMS = {
    "not_an_image": "the file is a picture",
    "corrupt": "the file decodes",
    "truncated": "the file is complete",
    "empty_file": "the file has content",
    "too_small": "the picture is large enough",
    "too_many_pixels": "the picture is no decompression bomb",
    "unreadable": "the file may be read",
    "missing_file": "the file that the table names exists",
    "link_outside_root": "links stay inside the data root",
    "no_label": "the example has a label",
    "exact_duplicate": "the file occurs once",
    "conflicting_labels": "the same file has one label",
}


class Check(NamedTuple):
    """One expectation of `run_expectations`, in words and in Great Expectations' terms."""

    table: str
    kind: str
    column: str
    meaning: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Suite:
    """What is special about the checks of one kind of data.

    Attributes
    ----------
    problems : {reason of a quarantine: what it means that no example has it}; each is an
        expectation of its own, so that the page names them apart.
    flags : the same for patterns in the quality flags.
    prepared : adds columns to the manifest that `manifest`, its further checks, look at.
    """

    problems: dict[str, str]
    flags: dict[str, str]
    prepared: Callable[[pd.DataFrame], pd.DataFrame] = lambda manifest: manifest
    manifest: tuple[Check, ...] = ()


IMAGE_SUITE = Suite(
    problems=_IMAGE_PROBLEMS,
    flags={
        "near_duplicate_other_label": "near-duplicates have one label",
        "converted": "the colour mode is 8-bit RGB",
    },
)


def class_table(counts: pd.Series) -> pd.DataFrame:
    """Usable examples per class as a table: `label`, `usable`, `times_smaller` than the largest."""
    largest = int(counts.max()) if len(counts) else 0
    ratios = [largest / n if n else float("inf") for n in counts]
    return pd.DataFrame(
        {"label": counts.index, "usable": counts.to_numpy(), "times_smaller": ratios}
    )


def sides_of_groups(manifest: pd.DataFrame) -> pd.Series:
    """On how many sides (train, val, test) each row's group is; more than one is a leak.

    Unlabelled examples train too, though without labels: they count as train.
    """
    return sides_of(manifest, manifest["group"])


def sides_of(manifest: pd.DataFrame, key: pd.Series) -> pd.Series:
    """The same for any key (n,) of rows that belong together."""
    side = manifest["split"].replace({"unlabelled": "train"})
    sides = side.where(side.isin(_SIDES)).groupby(key).nunique()
    return key.map(sides).astype("int64")


def run_expectations(
    incoming: pd.DataFrame,
    classes: pd.DataFrame,
    manifest: pd.DataFrame,
    docs: Path,
    *,
    min_per_class: int,
    max_imbalance: float,
    suite: Suite = IMAGE_SUITE,
) -> list[dict[str, Any]]:
    """Check three tables and write `docs/index.html`.

    `incoming` is every example found (id, label, reason '' if usable, quality_flags), `classes`
    comes from `class_table`, `manifest` is what goes on. Returns one entry per expectation:
    expectation, column, table, meaning, success, unexpected (rows; -1 for a whole-table check that
    failed). An expectation on `incoming` that fails has been dealt with by quarantine; one on
    `manifest` that fails is a defect.
    """
    tables = {
        "incoming": incoming.assign(accepted=incoming["reason"] == ""),
        "classes": classes,
        "manifest": suite.prepared(manifest).assign(
            sides=sides_of_groups(manifest),
            pin_lost=lost_pins(manifest),
            # Unlabelled examples have no label by design, and unused ones may have none.
            label_where_needed=manifest["label"].where(manifest["split"].isin(_SIDES), ""),
        ),
    }
    labels = classes["label"].tolist()
    checks = [*_incoming_checks(incoming, suite), *_class_checks(min_per_class, max_imbalance)]
    checks += [*_manifest_checks(manifest, labels), *suite.manifest]
    return run_checks(checks, tables, docs)


def _incoming_checks(incoming: pd.DataFrame, suite: Suite) -> Iterable[Check]:
    table = "incoming"
    yield Check(table, "ExpectTableRowCountToBeBetween", "", "there are examples", {"min_value": 1})
    yield Check(table, "ExpectColumnValuesToBeUnique", "id", "every example is listed once", {})
    for reason in {**suite.problems, **dict.fromkeys(sorted(set(incoming["reason"]) - {""}))}:
        meaning = suite.problems.get(reason, reason)
        arguments = {"value_set": [reason]}
        yield Check(table, "ExpectColumnValuesToNotBeInSet", "reason", meaning, arguments)
    for flag, meaning in suite.flags.items():
        kind = "ExpectColumnValuesToNotMatchRegex"
        yield Check(table, kind, "quality_flags", meaning, {"regex": flag})


def _class_checks(min_per_class: int, max_imbalance: float) -> Iterable[Check]:
    between, table = "ExpectColumnValuesToBeBetween", "classes"
    enough = f"every class has at least {min_per_class} usable examples"
    balanced = f"no class is more than {max_imbalance:g} times smaller than the largest"
    yield Check(
        table, "ExpectTableRowCountToBeBetween", "", "two classes or more", {"min_value": 2}
    )
    yield Check(table, between, "usable", enough, {"min_value": min_per_class})
    yield Check(table, between, "times_smaller", balanced, {"max_value": max_imbalance})


def _manifest_checks(manifest: pd.DataFrame, labels: list[str]) -> Iterable[Check]:
    table, unique = "manifest", "ExpectColumnValuesToBeUnique"
    in_set, between = "ExpectColumnValuesToBeInSet", "ExpectColumnValuesToBeBetween"
    splits = {"value_set": ["train", "val", "test", "unlabelled", "unused"]}
    yield Check(table, unique, "id", "ids are unique", {})
    yield Check(table, unique, "sha256", "no file is there twice", {})
    yield Check(table, in_set, "label", "labels are known classes", {"value_set": labels})
    yield Check(table, in_set, "split", "every example has a split", splits)
    yield Check(table, between, "sides", "no group is on two sides", {"max_value": 1})
    kept = "pinned examples are where their table put them"
    yield Check(table, in_set, "pin_lost", kept, {"value_set": [False]})
    yield Check(table, between, "size", "files have content", {"min_value": 1})
    not_null = "ExpectColumnValuesToNotBeNull"
    yield Check(table, not_null, "label_where_needed", "what trains or tests has a label", {})
    if "brightness" in manifest:
        light = {"min_value": 0, "max_value": 1}
        yield Check(table, between, "brightness", "brightness lies in 0..1", light)


def run_checks(
    checks: list[Check], tables: dict[str, pd.DataFrame], docs: Path
) -> list[dict[str, Any]]:
    """Run each check on its table and write `docs/index.html`; entries as `run_expectations`."""
    context = _context(docs)
    results: list[dict[str, Any]] = []
    for name, table in tables.items():
        own = [check for check in checks if check.table == name]
        outcomes = _run_suite(context, name, own, table)
        results += [_entry(check, outcomes[check.meaning]) for check in own]
    context.build_data_docs()
    return results


def _run_suite(context: Any, name: str, checks: list[Check], table: pd.DataFrame) -> dict[str, Any]:
    """Great Expectations' outcome of each check, by its meaning."""
    import great_expectations as gx

    expectations = [
        getattr(gx.expectations, check.kind)(
            **({"column": check.column} if check.column else {}),
            **check.arguments,
            notes=check.meaning,
            meta={"meaning": check.meaning},
        )
        for check in checks
    ]
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
    source = context.data_sources.all().get(_SOURCE) or context.data_sources.add_pandas(_SOURCE)
    batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
    definition = gx.ValidationDefinition(name=name, data=batch, suite=suite)
    # Naming the offending rows on the page needs a column that identifies a row.
    identity = "id" if "id" in table else "label"
    outcome = context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": table},
        result_format={
            "result_format": "SUMMARY",
            "unexpected_index_column_names": [identity],
        },
    )
    return {result.expectation_config.meta["meaning"]: result for result in outcome.results}


def _context(docs: Path) -> Any:
    """A context that lives in memory, draws no progress bars and writes its pages to `docs`."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    for default in context.get_site_names():
        context.delete_data_docs_site(default)
    folder = {
        "class_name": "TupleFilesystemStoreBackend",
        "base_directory": str(Path(docs).resolve()),
    }
    site: Any = {  # Any: Great Expectations' own type lacks show_how_to_buttons
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": folder,
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    context.add_data_docs_site(_SOURCE, site)
    return context


def _entry(check: Check, outcome: Any) -> dict[str, Any]:
    if _raised(outcome.exception_info):
        # Great Expectations turns its own exceptions into "not successful"; a check that could
        # not run says nothing about the data.
        raise RuntimeError(f"the check '{check.meaning}' did not run: {outcome.exception_info}")
    failed_whole = -1 if not outcome.success else 0
    return {
        "expectation": check.kind,
        "column": check.column,
        "table": check.table,
        "meaning": check.meaning,
        "success": bool(outcome.success),
        "unexpected": int(outcome.result.get("unexpected_count", failed_whole)),
    }


def _raised(info: dict[str, Any]) -> bool:
    """`exception_info` is one record, or one record per metric."""
    nested = [value for value in info.values() if isinstance(value, dict)]
    return any(record.get("raised_exception") for record in [info, *nested])
