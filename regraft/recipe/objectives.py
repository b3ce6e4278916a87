"""Options of the extra terms of the loss. Each is scaled by its strength; 0 leaves it out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from regraft.recipe.base import Options


class ObjectiveOptions(Options):
    """What every term has."""

    strength: float = Field(default=1.0, ge=0)
    """Weight of the term in the loss; 0 leaves it out."""


class L2SP(ObjectiveOptions):
    """Keeps the backbone near the weights it starts with (Li et al., ICML 2018)."""

    kind: Literal["l2_sp"] = "l2_sp"
    strength: float = Field(default=0.1, ge=0)
    """Weight of half the squared distance to the start."""


class EWC(ObjectiveOptions):
    """Keeps the weights that the old examples depend on (Kirkpatrick et al., PNAS 2017)."""

    kind: Literal["ewc"] = "ewc"
    strength: float = Field(default=0.1, ge=0)
    """Weight of the term; the Fisher information has mean 1, so the scale is that of l2_sp."""
    examples: int = Field(default=256, ge=1)
    """How many old examples the Fisher information is measured on."""
    batch_size: int = Field(default=1, ge=1)
    """Examples per gradient: 1 is exact, more is faster and coarser."""


class LwF(ObjectiveOptions):
    """Keeps the answers of the model it starts with (Li and Hoiem, ECCV 2016)."""

    kind: Literal["lwf"] = "lwf"
    temperature: float = Field(default=2.0, gt=0)
    """Softness of both answers."""


class DANN(ObjectiveOptions):
    """Embeddings that hide the domain from an adversary (Ganin et al., JMLR 2016)."""

    kind: Literal["dann"] = "dann"
    hidden: int = Field(default=256, ge=1)
    """Width of the domain classifier."""


class CDAN(ObjectiveOptions):
    """DANN that also sees the predicted classes (Long et al., NeurIPS 2018)."""

    kind: Literal["cdan"] = "cdan"
    hidden: int = Field(default=256, ge=1)
    """Width of the domain classifier."""
    projection: int = Field(default=512, ge=1)
    """Length to which embedding x classes is projected at random where it is longer."""
    entropy_weighting: bool = True
    """Whether confident examples count more (CDAN+E)."""


class MCC(ObjectiveOptions):
    """Predictions on the target that confuse few classes (Jin et al., ECCV 2020)."""

    kind: Literal["mcc"] = "mcc"
    temperature: float = Field(default=2.5, gt=0)
    """Softness of the predictions."""


class CORAL(ObjectiveOptions):
    """Equal covariances of both domains (Sun and Saenko, ECCV workshops 2016)."""

    kind: Literal["coral"] = "coral"
    strength: float = Field(default=10.0, ge=0)
    """Weight of the term; covariances of embeddings of unit length are small (about 0.001)."""


class MMD(ObjectiveOptions):
    """Equal kernel means of both domains (Long et al., ICML 2015)."""

    kind: Literal["mmd"] = "mmd"
    strength: float = Field(default=10.0, ge=0)
    """Weight of the term, at most 2; at 1 training barely lowers it beside the cross-entropy."""
    bandwidths: list[float] = Field(default=[0.25, 0.5, 1.0, 2.0, 4.0], min_length=1)
    """Variances of the Gaussian kernels, as multiples of the median squared distance."""


class DRCN(ObjectiveOptions):
    """Embeddings that the target's inputs can be rebuilt from (Ghifary et al., ECCV 2016)."""

    kind: Literal["drcn"] = "drcn"
    strength: float = Field(default=0.3, ge=0)
    """Weight of the reconstruction error; 1 is the error of always guessing the mean."""
    hidden: int = Field(default=256, ge=1)
    """Width of the decoder."""


class EntropyMinimisation(ObjectiveOptions):
    """Confident but diverse predictions on the target (Grandvalet and Bengio 2005; Liang et al.,
    ICML 2020)."""

    kind: Literal["entropy"] = "entropy"
    strength: float = Field(default=0.1, ge=0)
    """Weight of the term."""
    diversity: float = Field(default=1.0, ge=0)
    """Weight of the entropy of the mean prediction, which keeps every class in use; 0 is off."""


class PseudoLabel(ObjectiveOptions):
    """Trains on the target's own confident predictions (Lee 2013; Wang et al., ICLR 2023)."""

    kind: Literal["pseudo_label"] = "pseudo_label"
    threshold: float = Field(default=0.95, gt=0, lt=1)
    """Confidence that the best-learned class needs; classes that are learned less need less."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """How slowly the estimate follows of how well each class is learned."""


class SupervisedContrast(ObjectiveOptions):
    """Draws one class together and different ones apart (Khosla et al., NeurIPS 2020)."""

    kind: Literal["supervised_contrast"] = "supervised_contrast"
    temperature: float = Field(default=0.1, gt=0)
    """Softness of the choice among the examples of a batch: small looks at the nearest ones."""


class CrossModal(ObjectiveOptions):
    """Draws recordings near the motions of their word, or image and text of a pair near each
    other (Radford et al., ICML 2021)."""

    kind: Literal["cross_modal"] = "cross_modal"
    strength: float = Field(default=0.3, ge=0)
    """Weight of the term."""
    temperature: float = Field(default=0.1, gt=0)
    """Softness of the choice among the partners."""
    width: int = Field(default=128, ge=1)
    """Length of both projections."""


class Gloss(ObjectiveOptions):
    """The head that names recordings also names the motions of their words (Caruana 1997)."""

    kind: Literal["gloss"] = "gloss"
    strength: float = Field(default=0.3, ge=0)
    """Weight of the term."""


Objective = Annotated[
    L2SP
    | EWC
    | LwF
    | DANN
    | CDAN
    | MCC
    | CORAL
    | MMD
    | DRCN
    | EntropyMinimisation
    | PseudoLabel
    | SupervisedContrast
    | CrossModal
    | Gloss,
    Field(discriminator="kind"),
]


class FeatureHint(ObjectiveOptions):
    """The student's embeddings predict the teacher's (Romero et al., ICLR 2015)."""

    kind: Literal["feature_hint"] = "feature_hint"
    rank: int = Field(default=256, ge=1)
    """Largest rank of the learned projection from the student's to the teacher's embeddings."""


class PlainAnswers(Options):
    """The divergence of softened answers (Hinton et al. 2015)."""

    variant: Literal["plain"] = "plain"


class DecoupledAnswers(Options):
    """The true class and the ranking of the others, weighed apart (Zhao et al., CVPR 2022)."""

    variant: Literal["decoupled"] = "decoupled"
    target_weight: float = Field(default=1.0, ge=0)
    """Weight of how sure the teacher is of the true class (alpha)."""
    other_weight: float = Field(default=2.0, ge=0)
    """Weight of the teacher's answers among the other classes (beta)."""


class StandardisedAnswers(Options):
    """Logits of zero mean and unit spread, so that only their relations are taught (Sun et al.,
    CVPR 2024)."""

    variant: Literal["standardised"] = "standardised"


SoftAnswers = Annotated[
    PlainAnswers | DecoupledAnswers | StandardisedAnswers, Field(discriminator="variant")
]
