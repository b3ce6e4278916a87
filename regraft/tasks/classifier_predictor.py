"""A saved classifier, ready to answer: what is the same for every kind of input."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import softmax

from regraft.tasks.classifier import Classifier

if TYPE_CHECKING:
    from typing import Self

BATCH = 16


class ClassifierPredictor:
    """A saved classifier, ready to answer. Later changes of `model` do not reach it.

    `fields` are the names of the parts of an input that has several.
    """

    fields: tuple[str, ...] = ()

    task: str

    def __init__(self, model: Classifier) -> None:
        self.model = model
        self._answering = model.for_inference()
        self.classes = model.classes
        self.temperature = model.temperature

    def with_model(self, model: Classifier) -> Self:
        """The same predictor, with what stands beside the model, of another one."""
        other = copy.copy(self)
        ClassifierPredictor.__init__(other, model)
        return other

    @abstractmethod
    def tensor(self, values: list[Any]) -> torch.Tensor:
        """What the network reads of a few inputs."""

    def logits(self, inputs: list[Any]) -> np.ndarray:
        """Averaged logits before the temperature, (n, classes); `inputs` as in `predict`, or
        what `prepare` made of them."""
        return self.rows(inputs)[:, : len(self.classes)]

    def rows(self, inputs: list[Any]) -> np.ndarray:
        """The same for every row of the head, those of the auxiliary tasks included."""
        found = [self._answering.averaged_rows(x).cpu().numpy() for x in self.batches(inputs)]
        n_rows = len(self.classes) + sum(map(len, self.model.auxiliary.values()))
        return np.concatenate(found) if found else np.zeros((0, n_rows), np.float32)

    def batches(self, inputs: list[Any]) -> Iterator[torch.Tensor]:
        """What the network reads of `inputs`, a few at a time."""
        for start in range(0, len(inputs), BATCH):
            yield self.tensor(inputs[start : start + BATCH]).to(self.model.encoder.device)

    def probabilities(self, inputs: list[Any]) -> np.ndarray:
        """Calibrated probabilities, (n, classes)."""
        return softmax(self.logits(inputs) / self.model.temperature, axis=1)

    def predict(self, inputs: list[str | bytes]) -> list[dict[str, Any]]:
        """One answer {label, confidence, probabilities} per input; with auxiliary tasks also
        "tasks": {name: {label, confidence}}."""
        return self.answer(inputs)[0]

    def answer(self, inputs: list[Any]) -> tuple[list[dict[str, Any]], np.ndarray]:
        """The answers of `predict`, and the embeddings (n, dim) float32, from one forward pass."""
        rows, embeddings = self.rows_and_embeddings(inputs)
        return self.answers_of(rows), embeddings

    def rows_and_embeddings(self, inputs: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        """`rows` (n, rows of the head) and embeddings (n, dim), float32, from one forward pass."""
        pairs = [self._answering.averaged(x) for x in self.batches(inputs)]
        if not pairs:
            none = np.zeros((0, self.model.encoder.dim), np.float32)
            return self.rows([]), none
        rows, embeddings = (
            torch.cat(parts).float().cpu().numpy() for parts in zip(*pairs, strict=True)
        )
        return rows, embeddings

    def answers_of(self, found: np.ndarray) -> list[dict[str, Any]]:
        """The answers that `rows` (n, rows of the head) amount to."""
        tasks = self.task_probabilities(found)
        answers = []
        probabilities = softmax(found[:, : len(self.classes)] / self.model.temperature, axis=1)
        for number, row in enumerate(probabilities):
            best = int(row.argmax())
            named = dict(zip(self.classes, (round(float(p), 6) for p in row), strict=True))
            answer: dict[str, Any] = {
                "label": self.classes[best],
                "confidence": named[self.classes[best]],
                "probabilities": named,
            }
            if tasks:
                answer["tasks"] = {name: self._best(name, p[number]) for name, p in tasks.items()}
            answers.append(answer)
        return answers

    def measured(self, embeddings: np.ndarray) -> list[dict[str, float]]:
        """Statistics of inputs that only the network can tell, from embeddings (n, dim); they are
        logged beside those of `describe`."""
        return [{} for _ in embeddings]

    def task_probabilities(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Calibrated probabilities (n, classes of the task) of each auxiliary task, from `rows`."""
        temperatures = self.model.auxiliary_temperatures
        return {
            name: softmax(rows[:, columns] / temperatures[name], axis=1)
            for name, columns in self.model.auxiliary_columns.items()
        }

    def _best(self, task: str, probabilities: np.ndarray) -> dict[str, Any]:
        best = int(probabilities.argmax())
        label = self.model.auxiliary[task][best]
        return {"label": label, "confidence": round(float(probabilities[best]), 6)}
