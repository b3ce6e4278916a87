"""What people put around a question when they write to somebody."""

from __future__ import annotations

_AROUND = (
    "Hello, I hope that somebody here can help me. {} Thank you very much!",
    "{} I am 52 years old and rather worried about this.",
    "My sister was in hospital last week and since then we talk about nothing else. {}",
    "Good morning doctor, sorry for the long message. {} I could not find it on the internet.",
    "we moved house in march and my new neighbour asked me yesterday: {} i had no idea",
    "{} My husband says it is nothing, but I would like to know for certain before the holidays.",
    "I have read a lot and understood little, so please explain in simple words. {}",
    "my friend told me something different every time. so, {} thx in advance",
)


def with_small_talk(question: str, number: int) -> str:
    """The question in a message; which, turns with `number`.

    >>> with_small_talk("What is gout?", 1)
    'What is gout? I am 52 years old and rather worried about this.'
    """
    return _AROUND[number % len(_AROUND)].format(question)
