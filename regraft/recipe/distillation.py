"""Options of distillation: which student, what it learns from the teacher, and how long."""

from __future__ import annotations

from pydantic import Field

from regraft.recipe.augmentation import AugmentationOptions
from regraft.recipe.backbone import BackboneOptions
from regraft.recipe.base import Options
from regraft.recipe.objectives import FeatureHint, PlainAnswers, SoftAnswers


class StudentOptions(BackboneOptions):
    """The cheaper model. The name `teacher` means the teacher's architecture and weights, made
    cheaper by a smaller input."""

    name: str = "teacher"
    """`teacher` (its architecture and weights at a smaller input), `starter`, or a timm name."""
    layers: int = Field(default=0, ge=0)
    """Texts: layers that the student keeps of the teacher's; 0 takes half of them. Recordings: the
    blocks that it keeps, from the input on; 0 takes all but two."""
    image_size: int = Field(default=0, ge=0)
    """Side of the input in pixels; 0 takes about 5/7 of the teacher's (6/7 with another
    architecture), or the backbone's own where that is less or the only one it reads."""


class RetrieverLessons(Options):
    """Questions with answers: how the student's search is taught the embeddings of the teacher's
    (Reimers and Gurevych, EMNLP 2020)."""

    epochs: int = Field(default=0, ge=0)
    """How often each training question and answer is seen; 0 leaves the student without an
    assistant, so that only the teacher answers questions."""
    learning_rate: float = Field(default=6e-4, gt=0)
    """Peak rate of the layers; token embeddings stay."""
    batch_size: int = Field(default=32, ge=2)
    """Texts per step; what is near what is learned within a batch."""
    temperature: float = Field(default=0.05, gt=0)
    """Softness of the similarities within a batch."""
    similarity_weight: float = Field(default=1.0, ge=0)
    """Weight of the similarities beside the embeddings themselves."""


class DistillationOptions(Options):
    """Teaching a cheaper student (Hinton et al. 2015)."""

    enabled: bool = True
    """Whether a student is trained at all."""
    student: StudentOptions = StudentOptions()
    """The student's backbone."""
    answers: SoftAnswers = PlainAnswers()
    """How the teacher's answers are learned: plain, decoupled or standardised."""
    hint: FeatureHint = FeatureHint(strength=0.0)
    """The teacher's embeddings as a further lesson; strength 0 leaves it out."""
    retriever: RetrieverLessons = RetrieverLessons()
    """The search of the student's assistant, where questions have answers."""
    ensemble_seeds: list[int] = []
    """Seeds of further teachers, fine-tuned as the recipe says: the student learns the mean of
    all answers. Each costs another fine-tuning."""
    epochs: int = Field(default=5, ge=1)
    """The longest duration; validation may choose an earlier epoch."""
    temperature: float = Field(default=2.0, gt=0)
    """Softness of the teacher's answers."""
    label_weight: float = Field(default=0.2, ge=0, le=1)
    """Weight of the true labels; the teacher's answers get the rest. Unlabelled images of the
    target domain are learned from the teacher's answers alone."""
    learning_rate: float = Field(default=5e-4, gt=0)
    """Rate of the student's last block."""
    block_decay: float = Field(default=0.9, gt=0, le=1)
    """Each block towards the input learns at this fraction of the next."""
    batch_size: int = Field(default=32, ge=2)
    """Images per step."""
    augmentation: AugmentationOptions = AugmentationOptions()
    """Views that both see."""
