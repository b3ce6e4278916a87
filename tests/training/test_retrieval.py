"""Adapting retrieval, on embeddings in which the topic is easy and what is asked is not."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest

from regraft.evaluation.retrieval import Ranking, better_than, rank_passages
from regraft.tasks.matching import Familiar, Matcher, Weights
from regraft.training.contrastive import Contrast, fit_adapter, hard_negatives
from regraft.training.retrieval import Pairs, fit_matcher, fit_weights, terms_of

DIM, INTENTS = 24, 4
FEW = Contrast(epochs=20, batch_size=64)


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


def domain(topics: int, seed: int) -> Pairs:
    """Every topic has a passage for each intent. Question and passage share the topic's direction;
    what each intent adds to the two has nothing in common before training."""
    kinds, rng = np.random.default_rng(0), np.random.default_rng(seed)
    of_question, of_passage = (kinds.normal(size=(INTENTS, DIM)) / 5 for _ in range(2))
    topic = np.repeat(np.arange(topics), INTENTS)
    intent = np.tile(np.arange(INTENTS), topics)
    centre = rng.normal(size=(topics, DIM))[topic] / 2
    noise = [0.06 * rng.normal(size=centre.shape) for _ in range(2)]
    words = [f"topic{seed}x{number}" for number in topic]
    return Pairs(
        words,
        words,
        unit(centre + of_question[intent] + noise[0]),
        unit(centre + of_passage[intent] + noise[1]),
        np.arange(len(topic)),
        intent,
        words,
    )


def ranked(matcher: Matcher, pairs: Pairs) -> Ranking:
    scores = terms_of(matcher, pairs) @ astuple(matcher.weights)
    return rank_passages(scores, [[number] for number in pairs.right])


def test_learned_matching_is_better_on_topics_it_has_not_seen() -> None:
    train, test = domain(30, 1), domain(30, 2)
    plain, learned = ranked(Matcher(), test), ranked(fit_matcher(train, FEW), test)
    assert better_than(learned, plain, test.topics)["low"] > 0.1


def test_the_adapter_alone_is_better() -> None:
    train, test = domain(30, 1), domain(30, 2)
    adapter = fit_adapter(train.asked, train.answering, train.right, FEW)
    alone = Weights(dense=1.0, lexical=0.0)
    after, before = Matcher(alone, adapter), Matcher(alone)
    assert ranked(after, test).hit.mean() > ranked(before, test).hit.mean() + 0.1


def test_an_adapter_held_at_its_start_changes_nothing() -> None:
    pairs = domain(8, 1)
    held = fit_adapter(pairs.asked, pairs.answering, pairs.right, Contrast(epochs=2, anchor=1e6))
    assert np.allclose(held.questions(pairs.asked), pairs.asked, atol=0.05)


def test_the_same_seed_gives_the_same_adapter() -> None:
    pairs, how = domain(8, 1), Contrast(epochs=2)
    one, two, other = (
        fit_adapter(pairs.asked, pairs.answering, pairs.right, how, seed=seed) for seed in (0, 0, 1)
    )
    assert (one.question == two.question).all()
    assert (one.question != other.question).any()


def test_hard_negatives_are_the_most_similar_wrong_ones() -> None:
    questions, passages = np.eye(3), np.eye(3) + np.array([[0, 0, 0.5], [0, 0, 0.4], [0, 0, 0]])
    assert hard_negatives(questions, passages, np.arange(3), 1).tolist() == [[1], [0], [0]]


def test_weights_leave_out_what_misleads() -> None:
    rng = np.random.default_rng(0)
    right = rng.integers(0, 6, size=80)
    told = np.eye(6)[right] + rng.normal(size=(80, 6)) / 2
    noise = rng.normal(size=(80, 6))
    found = fit_weights([(np.stack([told, -told, noise, np.zeros((80, 6))], 2), right)])
    assert found.dense == pytest.approx(1.0)
    assert found.lexical == 0
    assert found.intent < 0.1
    assert found.topic < 1e-6


def test_names_of_topics_are_learned_where_passages_have_them() -> None:
    train, test = domain(30, 1), domain(30, 2)
    mute = {"questions": ["?"] * 120, "texts": ["!"] * 120}
    lost = unit(np.random.default_rng(0).normal(size=(120, DIM)))
    blind = [replace(pairs, asked=lost, **mute) for pairs in (train, test)]
    same = (np.arange(120)[:, None] // INTENTS == np.arange(120) // INTENTS).astype(np.float32)
    named = [replace(pairs, named=same) for pairs in blind]
    matcher = fit_matcher(named[0], FEW)
    assert matcher.weights.topic > 0.1
    without, found = ranked(matcher, blind[1]), ranked(matcher, named[1])
    assert (found.rank <= INTENTS).mean() > (without.rank <= INTENTS).mean() + 0.5


def test_the_intent_fades_for_questions_unlike_those_it_was_learned_from() -> None:
    known = Familiar(np.eye(2, 4), enough=0.8)
    asked = np.array([[0.0, 1.0, 0.0, 0.0], [0.6, 0.0, 0.8, 0.0], [0.0, 0.0, 0.0, 1.0]])
    assert known.like(asked) == pytest.approx([1.0, 0.5, 0.0])
    train, test = domain(30, 1), domain(30, 2)
    matcher = fit_matcher(train, FEW)
    assert matcher.familiar is not None
    assert (matcher.familiar.like(test.asked) == 1).mean() > 0.8
    foreign = replace(matcher, familiar=Familiar(known.questions @ np.zeros((4, DIM)), 0.8))
    assert not terms_of(foreign, test)[:, :, 2].any()
    assert terms_of(matcher, test)[:, :, 2].any()
