"""What windows are compared with: the champion's reference, made ready once for many windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from regraft.errors import UserError
from regraft.monitoring.domains import DomainAssigner, known_domains
from regraft.monitoring.samples import Array, Sample

_HELD_OUT = ("val", "test")


class ReferenceLike(Protocol):
    """The champion's reference (`regraft.monitoring.reference`): a row per training, validation
    and test example with id, split, domain, label (its truth), group, predicted, confidence,
    stat_<name>, p:<class>; embeddings (n, dim) in the same order."""

    @property
    def rows(self) -> pd.DataFrame: ...
    @property
    def embeddings(self) -> Array: ...
    @property
    def classes(self) -> list[str]: ...
    @property
    def version(self) -> str: ...


@dataclass(frozen=True)
class Part:
    """A window beside what it is compared with: one domain of the reference, or all of it."""

    domain: str
    everything: Sample
    held_out: Sample
    window: Sample


@dataclass(frozen=True)
class Baseline:
    """A reference with one row per group of near-duplicates, which must not count twice.

    `sample.rows` has the columns of a window plus split, and `domain` (as assigned).
    """

    sample: Sample
    classes: list[str]
    version: str
    assigner: DomainAssigner | None

    @property
    def held_out(self) -> Sample:
        """Validation and test rows."""
        return self.sample.take(self.sample.rows["split"].isin(_HELD_OUT).to_numpy())

    def placed(self, window: Sample) -> Sample:
        """The window with the column `domain`, each input once, as compared with this.

        A client that sends one photo a hundred times is no evidence of a hundred.
        """
        rows = window.rows
        if "input_hash" in rows:
            known = rows["input_hash"].fillna("").astype(str)
            repeated = known.duplicated() & (known != "")
            window = window.take(~repeated.to_numpy())
        domains: Any = ""
        if self.assigner is not None:
            domains = self.assigner.assign(window.embeddings)
        truth = window.rows.get("truth", pd.Series(index=window.rows.index, dtype=object))
        rows = window.rows.assign(domain=domains, truth=truth)
        return Sample(rows, window.embeddings, window.name)

    def parts(self, window: Sample, *, enough_rows: int) -> tuple[list[Part], str]:
        """The window cut by domain, and a word on what is too small to be compared."""
        if self.assigner is None:
            return [Part("", self.sample, self.held_out, window)], ""
        found, left_out = [], []
        for domain in self.assigner.domains:
            own = window.take((window.rows["domain"] == domain).to_numpy())
            sample = self.sample.take((self.sample.rows["domain"] == domain).to_numpy())
            if min(len(own), len(sample)) < enough_rows:
                left_out += [f"{len(own)} answers of '{domain}'"] if len(own) else []
                continue
            held_out = sample.take(sample.rows["split"].isin(_HELD_OUT).to_numpy())
            found.append(Part(domain, sample, held_out, own))
        return found, f"too few to compare: {', '.join(left_out)}" if left_out else ""


def baseline(reference: ReferenceLike, *, enough_rows_in_domain: int, seed: int = 0) -> Baseline:
    """Make a reference ready. Raises UserError if it is empty or its embeddings are not finite."""
    rows = reference.rows.reset_index(drop=True)
    embeddings = np.asarray(reference.embeddings, dtype=np.float32)
    if len(rows) != len(embeddings) or len(rows) < 2:
        raise UserError(
            "the reference of the champion cannot be compared with",
            got=f"{len(rows)} rows, {len(embeddings)} embeddings",
            expected="as many embeddings as rows, at least 2",
            fix="train and register the model again",
        )
    if not np.isfinite(embeddings).all():
        raise UserError("the reference's embeddings hold NaN or infinite values",
                        fix="train and register the model again")  # fmt: skip
    rows = rows.assign(truth=rows["label"], label=rows["predicted"])
    sample = Sample(rows, embeddings, "reference").take(_one_per_group(rows, seed))
    domains = known_domains(sample.rows["domain"], enough_rows_in_domain)
    assigner, assigned = None, np.full(len(sample), "", dtype=object)
    if len(domains) > 1:
        assigner, assigned = DomainAssigner.fit(
            sample.embeddings, sample.rows["domain"].to_numpy(), domains, seed=seed
        )
    placed = Sample(sample.rows.assign(domain=assigned), sample.embeddings, sample.name)
    return Baseline(placed, list(reference.classes), str(reference.version), assigner)


def _one_per_group(rows: pd.DataFrame, seed: int) -> Array:
    """Row numbers: one of each group, held-out ones first, else drawn."""
    order = np.random.default_rng(seed).permutation(len(rows))
    held_out = rows["split"].isin(_HELD_OUT).to_numpy()[order]
    order = order[np.argsort(~held_out, kind="stable")]
    first = ~rows["group"].astype(str).iloc[order].duplicated().to_numpy()
    return np.sort(order[first])
