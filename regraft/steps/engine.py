"""What the engine is given, from the recipe's finetune section: one function per argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regraft.training.optimisation import Optimisation
    from regraft.training.ports import Ports
    from regraft.training.selection import TargetScore
    from regraft.training.trunk_store import TrunkStore


def optimisation_of(options: dict[str, Any]) -> Optimisation:
    """How a step is taken."""
    from regraft.training.optimisation import Optimisation

    names = ("batch_size", "accumulation_steps", "clip_norm", "clip_value", "dropout", "precision")
    return Optimisation(
        **options["optimiser"],
        **{name: options[name] for name in names},
        keep_statistics=options["batch_norm"] == "frozen",
    )


def ports_of(options: dict[str, Any]) -> Ports:
    """What fills the ports of the engine."""
    from regraft.training.ports import Ports

    names = ("objectives", "gradients", "sampling", "replay", "averaging")
    return Ports(**{name: options[name] for name in names})


def target_score_of(options: dict[str, Any], model: Any) -> TargetScore:
    """What chooses the epoch where objectives read a target domain without labels: the score, and
    the forgetting allowed, that the heads in closed form are compared by."""
    from regraft.evaluation.label_free import information_maximisation
    from regraft.training.selection import TargetScore

    drop = options["adaptation"]["max_source_drop_pp"] / 100
    return TargetScore(information_maximisation, len(model.classes), drop)


def trunks_of(options: dict[str, Any], code_version: str) -> TrunkStore | None:
    """The cache of frozen trunks that all runs share; None where it is off."""
    from regraft.steps.workspace import home
    from regraft.training.trunk_store import TrunkStore

    max_bytes = int(options["cache_gb"] * 1e9)
    return TrunkStore(home() / "trunks", max_bytes, code_version) if max_bytes else None
