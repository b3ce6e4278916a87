import numpy as np
import pytest
from sklearn import metrics as reference

from regraft.errors import UserError
from regraft.evaluation.bootstrap import accuracy_interval, wilson_interval
from regraft.evaluation.metrics import (
    class_numbers,
    classification_metrics,
    confusion_counts,
    prior_probabilities,
)


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 5, 300)
    scores = rng.gumbel(size=(300, 5))
    scores[np.arange(300), labels] += 1.5
    powers = np.exp(scores)
    return labels, powers / powers.sum(axis=1, keepdims=True)


def test_agrees_with_scikit_learn(scored: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = scored
    predicted = probabilities.argmax(axis=1)
    ours = classification_metrics(labels, probabilities)

    assert ours["accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted))
    assert ours["macro_f1"] == pytest.approx(reference.f1_score(labels, predicted, average="macro"))
    assert ours["balanced_accuracy"] == pytest.approx(
        reference.balanced_accuracy_score(labels, predicted)
    )
    assert ours["nll"] == pytest.approx(reference.log_loss(labels, probabilities))
    assert ours["brier"] == pytest.approx(
        ((probabilities - np.eye(5)[labels]) ** 2).sum(axis=1).mean()
    )
    precision, recall, f1, count = reference.precision_recall_fscore_support(labels, predicted)
    for k, row in enumerate(ours["per_class"]):
        assert (row["precision"], row["recall"], row["f1"], row["count"]) == pytest.approx(
            (precision[k], recall[k], f1[k], count[k])
        )
    assert confusion_counts(labels, predicted, 5).tolist() == (
        reference.confusion_matrix(labels, predicted).tolist()
    )
    low, high = ours["interval"]["accuracy"]
    assert low < ours["accuracy"] < high


def test_class_absent_from_the_test_set(scored: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = scored
    wide = np.pad(probabilities, ((0, 0), (0, 2)))
    ours = classification_metrics(labels, wide, classes=list("abcdefg"))

    assert ours["macro_f1"] == classification_metrics(labels, probabilities)["macro_f1"]
    absent = {"class": "g", "precision": None, "recall": None, "f1": None, "count": 0}
    assert ours["per_class"][-1] == absent


def test_groups_widen_the_interval(scored: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = (np.repeat(part, 6, axis=0) for part in scored)
    alone = classification_metrics(labels, probabilities)["interval"]["accuracy"]
    copies = classification_metrics(labels, probabilities, groups=np.repeat(np.arange(300), 6))
    grouped = copies["interval"]["accuracy"]
    assert grouped[1] - grouped[0] > 1.8 * (alone[1] - alone[0])


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        low, high = accuracy_interval(rng.random(150) < 0.8, replicates=400, seed=trial)
        covered += low <= 0.8 <= high
    assert 0.90 <= covered / 300 <= 0.99


def test_a_sample_without_mistakes_is_not_certain() -> None:
    ours = classification_metrics([0, 1, 0, 1, 0], np.eye(2)[[0, 1, 0, 1, 0]])
    assert ours["interval"]["accuracy"] == list(wilson_interval(1.0, 5))
    assert ours["interval"]["accuracy"][0] == pytest.approx(0.5655, abs=1e-3)
    assert ours["interval"]["macro_f1"][0] < 1.0


def test_majority_baseline_predicts_the_prior() -> None:
    prior = prior_probabilities([0, 0, 0, 1], count=2, classes=3)
    assert prior.tolist() == [[0.75, 0.25, 0.0]] * 2


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        ([], np.zeros((0, 3))),
        ([0], [[np.nan, 1.0]]),
        ([0.5], [[0.5, 0.5]]),
        ([np.nan], [[0.5, 0.5]]),
        ([2], [[0.5, 0.5]]),
        ([-1], [[0.5, 0.5]]),
        ([0, 1], [[0.5, 0.5]]),
        ([0], [[3.0, 1.0]]),
        ([0], [0.5]),
    ],
)
def test_refuses_what_cannot_be_scored(labels: object, probabilities: object) -> None:
    with pytest.raises(UserError):
        classification_metrics(labels, probabilities)  # type: ignore[arg-type]


def test_refuses_missing_groups_and_unknown_names() -> None:
    with pytest.raises(UserError, match="no group"):
        classification_metrics([0, 1], [[1, 0], [0, 1]], groups=["a", None])
    with pytest.raises(UserError, match="does not know"):
        class_numbers(["rust"], ["scab"])
