"""The search for passages, with a tiny encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regraft.backbones.heads.linear import LinearHead
from regraft.backbones.transformer import TransformerEncoder
from regraft.backbones.transformer_loading import load_transformer
from regraft.errors import UserError
from regraft.tasks.matching import Familiar, Matcher, Weights
from regraft.tasks.retriever import Passage, Retriever
from tests.backbones.texts import tiny_folder

TEXTS = ["a cold causes fever in children", "how can i treat diabetes", "asthma and my head hurt"]
PASSAGES = [Passage(str(i), text, topic=text.split()[-1]) for i, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TransformerEncoder:
    return load_transformer(str(tiny_folder(tmp_path_factory.mktemp("tiny"))), max_tokens=16)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_a_passage_is_found_by_its_own_text(encoder: TransformerEncoder, weight: float) -> None:
    matcher = Matcher(Weights(dense=weight, lexical=1 - weight))
    found = Retriever(encoder, PASSAGES, matcher=matcher).search(TEXTS, k=2)
    assert [hits[0].passage for hits in found] == [0, 1, 2]
    assert all(hits[0].score > hits[1].score for hits in found)


def test_a_passage_that_does_not_say_what_it_is_about(encoder: TransformerEncoder) -> None:
    about = [Passage("a", "rest helps", topic="fever"), Passage("b", "rest helps", topic="asthma")]
    by_topic = Matcher(Weights(dense=0.5, lexical=0.0, topic=0.5))
    found = Retriever(encoder, about, matcher=by_topic).search(["how can i treat asthma"])[0]
    assert found[0].passage == 1 and found[0].named > found[1].named


def test_misspelt_words_are_read_as_what_was_meant(encoder: TransformerEncoder) -> None:
    retriever = Retriever(encoder, [*PASSAGES, Passage("x", "rest", topic="bronchiolitis")])
    for wrong, right in (("diabetis", "diabetes"), ("sronchiolitis", "bronchiolitis")):
        assert retriever.search([f"what is {wrong}"]) == retriever.search([f"what is {right}"])
        asked = retriever.embed_questions([f"what is {wrong}", f"what is {right}"])
        assert asked[0] == pytest.approx(asked[1], abs=1e-5)


def test_more_passages_than_there_are(encoder: TransformerEncoder) -> None:
    assert len(Retriever(encoder, PASSAGES).search(["fever"], k=9)[0]) == len(PASSAGES)


def test_embeddings_have_unit_length(encoder: TransformerEncoder) -> None:
    lengths = np.linalg.norm(Retriever(encoder, PASSAGES).embed_questions(["fever", ""]), axis=1)
    assert lengths == pytest.approx(1, abs=1e-5)


def test_saved_and_loaded(encoder: TransformerEncoder, tmp_path: Path) -> None:
    heads = (LinearHead(np.eye(3, 32), np.ones(3), 0.0), LinearHead(np.eye(3, 32), np.ones(3), 0.0))
    known = Familiar(np.eye(2, 32, dtype=np.float32), 0.5)
    weights = Weights(dense=0.7, lexical=0.1, intent=0.3, topic=0.2)
    made = Retriever(encoder, PASSAGES, matcher=Matcher(weights, intents=heads, familiar=known))
    made.save(tmp_path)
    loaded = Retriever.load(tmp_path)
    assert loaded.passages == made.passages
    assert loaded.search(["treat asthma", "fever"]) == made.search(["treat asthma", "fever"])


def test_nothing_to_search_and_no_retriever(encoder: TransformerEncoder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to search"):
        Retriever(encoder, [])
    with pytest.raises(UserError, match="no retriever"):
        Retriever.load(tmp_path)
