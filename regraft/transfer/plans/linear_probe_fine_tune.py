"""Linear probing, then fine-tuning (LP-FT): the head settles before anything else moves.

Source: Kumar, Raghunathan, Jones, Ma and Liang, "Fine-Tuning can Distort Pretrained Features and
Underperform Out-of-Distribution", ICLR 2022, section 3.4. Full fine-tuning under a head that does
not fit changes the features of the training distribution first and leaves those of other domains
behind; its error out of distribution grows with the head's initial error. The probe (closed form,
cached features) makes that error small before the first stage. The head's own stage then trains it
on fresh augmented views at a high rate, which is cheap: no gradient enters the backbone.

>>> [(stage.name, len(stage.trainable), stage.rate_factor)
...  for stage in stages(8, head_epochs=2, head_rate_factor=10.0, epochs=5)]
[('head', 0, 10.0), ('all blocks', 8, 1.0)]
"""

from __future__ import annotations

from regraft.transfer.stage import Stage, last_blocks


def stages(n_blocks: int, *, head_epochs: int, head_rate_factor: float, epochs: int) -> list[Stage]:
    """A stage of the head alone, then one of everything."""
    return [
        Stage("head", frozenset(), head_epochs, rate_factor=head_rate_factor),
        Stage("all blocks", last_blocks(n_blocks, n_blocks), epochs),
    ]
