"""Do the embeddings come from another distribution: new scenes, new cameras, new classes?

Maximum mean discrepancy says whether (its p-value is by relabelling, so it holds at any sample
size), a cross-validated classifier says how much.
"""

from __future__ import annotations

from regraft.monitoring.monitors import Test
from regraft.monitoring.samples import Sample
from regraft.shift.two_sample import domain_classifier, mmd_permutation_test


def tests(
    reference: Sample, window: Sample, *, min_effect: float, permutations: int, seed: int = 0
) -> list[Test]:
    """One test. Raises UserError if the embeddings differ in width."""
    before, after = (s.take(s.finite).embeddings for s in (reference, window))
    mmd = mmd_permutation_test(before, after, permutations=permutations, seed=seed)
    classifier = domain_classifier(before, after, seed=seed)
    return [
        Test(
            monitor="embeddings",
            name="embeddings",
            statistic=mmd["statistic"],
            p_value=mmd["p_value"],
            effect=classifier.auc,
            min_effect=min_effect,
            effect_name="AUC of a classifier between the samples",
            interval=(classifier.low, classifier.high),
        )
    ]
