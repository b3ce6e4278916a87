"""Decision of the gate to the record of the retraining."""

from kfp import dsl

from components.base import component


@component
def retraining_record(
    name: str,
    drift: dsl.Input[dsl.Artifact],
    measured: dsl.Input[dsl.Artifact],
    decision: dsl.Input[dsl.Artifact],
    code_version: str,
) -> str:
    """Write down how the retraining ended, so that its drift report leads to no other.

    Args:
        name: Name of the model in the registry.
        drift: Output of drift_check.
        measured: Output of evaluation.
        decision: Output of registration.
        code_version: Hash of the library.
    """
    from regraft.steps.record_retraining import record_retraining
    from regraft.steps.recording import recorded

    with recorded("retraining_record"):
        return record_retraining(
            name=name,
            evidence=drift.path,
            evaluation=measured.path,
            decision=decision.path,
        )
