"""Spoken words: views, the predictor on good and bad recordings, and what it signs."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regraft.data.motion import open_motion
from regraft.errors import UserError
from regraft.tasks import speech_to_sign
from regraft.tasks.audio_views import AudioViews
from regraft.tasks.sign_sentence import sentence
from regraft.tasks.speech_predictor import SpeechPredictor
from tests.tasks.spoken import WORDS, as_bytes, encoder, saved_and_loaded, tone


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> SpeechPredictor:
    return saved_and_loaded(tmp_path_factory.mktemp("model"))


def test_an_answer_has_the_word_and_a_motion_file_that_can_be_opened(
    predictor: SpeechPredictor, tmp_path: Path
) -> None:
    (answer,) = predictor.predict([as_bytes(tone())])
    assert answer["label"] == "yes" and answer["confidence"] > 0.5
    (tmp_path / "yes.npz").write_bytes(base64.b64decode(answer["motion"]))
    assert len(open_motion(tmp_path / "yes.npz").joints) >= 2


def test_a_word_without_a_sign_has_no_motion(predictor: SpeechPredictor) -> None:
    assert predictor.signer is not None
    files = predictor.signer.files(np.array([[5.0, 0.0], [0.0, 5.0]]))
    assert files[0] is None and files[1]


def test_a_model_signs_sentences_as_a_lexicon_does(predictor: SpeechPredictor) -> None:
    assert predictor.signer is not None
    frames, parts = sentence("Yes no yes", predictor.signer)
    assert [part.how for part in parts] == ["sign", "unknown", "transition", "sign"]
    assert len(frames) == parts[-1].end


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
def test_the_sample_format_hardly_matters(predictor: SpeechPredictor, subtype: str) -> None:
    _, plain = predictor.answer([as_bytes(tone(), subtype="DOUBLE")])
    _, other = predictor.answer([as_bytes(tone(), subtype=subtype)])
    assert float((plain * other).sum()) > 0.95


def test_stereo_and_base64_are_the_same_word(predictor: SpeechPredictor, tmp_path: Path) -> None:
    data = as_bytes(np.stack([tone(), tone()], 1))
    (tmp_path / "word.wav").write_bytes(data)
    inputs: list[Any] = [as_bytes(tone()), data, base64.b64encode(data).decode()]
    _, found = predictor.answer([*inputs, str(tmp_path / "word.wav")])
    np.testing.assert_allclose(found, np.repeat(found[:1], 4, 0), atol=1e-4)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (as_bytes(np.zeros(8_000)), "silent|quieter"),
        (as_bytes(tone()[:1]), "short|1 samples"),
        (as_bytes(np.resize(tone(rate=4_000), 3_600 * 4_000), 4_000, "PCM_U8"), "3,600"),
        (b"this is no sound", "not a recording"),
        (b"", "no bytes"),
    ],
    ids=["silence", "one sample", "an hour", "text", "nothing"],
)
def test_what_is_no_word_is_refused_with_its_reason(
    predictor: SpeechPredictor, data: bytes, why: str
) -> None:
    with pytest.raises(UserError, match=why):
        predictor.prepare(data)


def test_neither_a_file_nor_base64_is_refused(predictor: SpeechPredictor) -> None:
    with pytest.raises(UserError, match="neither an existing file nor base64"):
        predictor.predict(["x" * 300 + "!"])
    with pytest.raises(UserError, match="not base64"):
        predictor.from_text("no sound!")


def test_noise_and_another_rate_are_seen_in_the_statistics(predictor: SpeechPredictor) -> None:
    rng = np.random.default_rng(0)
    word = np.concatenate([np.zeros(4_000), tone(), np.zeros(4_000)])
    plain = predictor.describe(as_bytes(word))
    noisy = predictor.describe(as_bytes(word + rng.normal(0, 0.05, len(word))))
    assert noisy["noise_db"] > plain["noise_db"] + 10
    assert noisy["centre_hz"] > plain["centre_hz"]
    assert predictor.describe(as_bytes(tone(rate=8_000), 8_000))["sample_rate"] == 8_000
    assert predictor.prepare(as_bytes(word))[1] == plain


def test_views_are_functions_of_content_and_number(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(as_bytes(tone()))
    paths = [str(tmp_path / name) for name in ("a.wav", "b.wav")]
    views = AudioViews(paths, {"speech": True}, seed=0)
    first, again, second = (views.word(0, v) for v in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, views.word(1, 1))  # the same content
    assert len(first) != len(second) or not np.allclose(first, second)
    np.testing.assert_array_equal(views.word(0, 0), views.words[0])
    plain = AudioViews(paths, {"speech": False}, seed=0)
    np.testing.assert_array_equal(plain.word(0, 3), plain.words[0])
    assert plain.fingerprint != views.fingerprint
    assert views.batch(np.array([0, 1]), np.array([0, 1])).shape == (2, 20_480)


def test_a_student_has_fewer_blocks_and_can_be_built_again() -> None:
    teacher = encoder()
    student = speech_to_sign.student_encoder(
        teacher, {"name": "teacher", "layers": 4, "weights": ""}
    )
    assert len(student.blocks) == 4 and len(teacher.blocks) == 7
    assert sum(p.numel() for p in student.parameters()) < sum(
        p.numel() for p in teacher.parameters()
    )
    again = student.blank()
    again.load_state_dict(student.state_dict())
    x = torch.randn(2, 20_480)
    torch.testing.assert_close(again.eval()(x), student(x))
    with pytest.raises(UserError, match="so many blocks"):
        speech_to_sign.student_encoder(teacher, {"name": "teacher", "layers": 9, "weights": ""})


def test_options_of_pictures_are_refused() -> None:
    with pytest.raises(UserError, match="no such option"):
        speech_to_sign.pretrained_encoder(
            {"name": "starter", "weights": "", "image_size": 96}, taps=4
        )
    with pytest.raises(UserError, match="one view"):
        speech_to_sign.new_model(encoder(), WORDS, test_views=2)
