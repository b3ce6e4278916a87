"""LoRA fine-tuning of a language model on question, passages and answer.

Low-rank updates of all linear layers (Hu et al., "LoRA", ICLR 2022) by the library peft; the loss
counts the answer's tokens alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from regraft.errors import UserError
from regraft.progress import track
from regraft.tasks.assistant.assistant import Assistant
from regraft.tasks.assistant.composition import compose, quotable
from regraft.tasks.assistant.generation import LanguageModel

_IGNORED = -100  # a label that the loss of transformers leaves out


@dataclass(frozen=True)
class Example:
    """A question, the passages it is answered from, and the answer."""

    question: str
    passages: tuple[str, ...]
    answer: str


def examples_of(assistant: Assistant, questions: Sequence[str]) -> list[Example]:
    """What the assistant quotes for each question, as examples: the model learns to say what the
    passages say. Questions of a test split have no place here."""
    retriever = assistant.retriever
    found = []
    for question, hits in zip(questions, retriever.search(list(questions)), strict=True):
        quoted = compose(question, hits, retriever.passages, retriever.embed_questions)
        if quoted.quotes:
            passages = tuple(" ".join(quotable(passage)) for passage in quoted.sources)
            answer = " ".join(quote.sentence for quote in quoted.quotes)
            found.append(Example(question, passages, answer))
    return found


def fine_tune(
    language: LanguageModel,
    examples: Sequence[Example],
    *,
    rank: int = 8,
    epochs: int = 3,
    learning_rate: float = 2e-4,
    seed: int = 0,
) -> tuple[LanguageModel, list[float]]:
    """The model with an adapter that was trained on the examples, one at a time, and the mean loss
    of each epoch. The model's own weights stay.

    Raises `UserError` without examples, or where one does not fit the model's window.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    if not examples:
        raise UserError("there is nothing to learn", got="0 examples", expected="at least 1")
    batches = [_batch(language, example) for example in examples]
    torch.manual_seed(seed)
    how = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    model = get_peft_model(language.model, how).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.0)
    order = torch.Generator().manual_seed(seed)
    losses = []
    for _ in track(range(epochs), "language model", total=epochs):
        total = 0.0
        for place in torch.randperm(len(batches), generator=order).tolist():
            loss = model(**batches[place]).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            optimiser.zero_grad()
            total += float(loss.detach())
        losses.append(total / len(batches))
    tuned = LanguageModel(
        model,
        language.tokenizer,
        max_new_tokens=language.max_new_tokens,
        max_seconds=language.max_seconds,
    )
    return tuned, losses


def _batch(language: LanguageModel, example: Example) -> dict[str, Any]:
    """Ids, mask and labels, (1, tokens)."""
    import torch

    asked = language.encoded(language.prompt(example.question, example.passages))["input_ids"]
    end = language.tokenizer.eos_token or ""
    said = language.tokenizer(
        f" {example.answer}{end}", return_tensors="pt", add_special_tokens=False
    )["input_ids"].to(asked.device)
    ids = torch.cat([asked, said], 1)
    if ids.shape[1] > language.window:
        raise UserError(
            "an example is longer than the language model can read",
            where=example.question[:80],
            got=f"{ids.shape[1]} tokens",
            expected=f"at most {language.window}",
        )
    labels = torch.cat([torch.full_like(asked, _IGNORED), said], 1)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
