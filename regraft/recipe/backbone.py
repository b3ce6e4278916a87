"""Options of the pre-trained encoder."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from regraft.recipe.augmentation import AugmentationOptions
from regraft.recipe.base import Options
from regraft.recipe.fusion import FUSIONS, Fusion


class TextBackboneOptions(Options):
    """The encoder of the texts, where examples are pairs of image and text."""

    name: str = ""
    """Empty or `minilm` (embedded), any encoder of transformers by its name on the hub, or a
    folder."""
    weights: str = ""
    """A folder whose weights take the place of the name's; `random` for random ones."""
    max_tokens: int = Field(default=0, ge=0)
    """Longer texts are cut after so many tokens; 0 takes 128, or the encoder's own limit."""
    taps: int = Field(default=0, ge=0)
    """How many layers before the last contribute their mean to the features."""


class BackboneOptions(Options):
    """Which pre-trained encoder, with which weights and which preprocessing."""

    name: str = "starter"
    """Images: `starter` (embedded, needs no hub) or any timm model name; besides timm's also
    squeezenet1_1_backbone and mobilenetv1_075; of transformers a folder or OWNER/MODEL (ViT,
    DINOv2, the image tower of CLIP or SigLIP). Texts: `minilm` (embedded), any encoder of
    transformers by its name on the hub, or a folder. Speech: `starter`, `speech_embedding` with its
    weights, or wav2vec2, HuBERT, WavLM and Whisper of transformers."""
    factory: str = ""
    """`package.module:function`, a function registered with timm's `register_model` that makes a
    network timm does not know; it takes the place of the name (see regraft/backbones/families)."""
    weights: str = ""
    """Empty: the name's own weights (embedded for the starter, else from the hub). A path: a
    .safetensors file or torch checkpoint with timm's parameter names. `random`: from scratch."""
    image_size: int = Field(default=0, ge=0)
    """Side of the square input in pixels; 0 takes the backbone's own."""
    max_tokens: int = Field(default=0, ge=0)
    """Texts: longer ones are cut after so many tokens; 0 takes 128, or the backbone's own limit if
    that is less."""
    mean: list[float] = Field(default=[], max_length=3)
    """Channel means on a 0..1 scale; empty takes the backbone's own (see preprocessing)."""
    std: list[float] = Field(default=[], max_length=3)
    """Channel standard deviations; empty takes the backbone's own."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Stochastic depth while training: share of residual branches left out of the last block,
    fewer towards the input; an error for a family without it."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the final pooled features set to 0 while training; an error for a family without
    it."""
    text: TextBackboneOptions = TextBackboneOptions()
    """Pairs: the second encoder. The fields beside it are of the images."""
    locked: Literal["", "image", "text"] = ""
    """Pairs: the modality whose encoder stays as it is whatever the plan says (locked-image tuning,
    Zhai et al. 2022)."""
    model_args: dict[str, Any] = {}
    """Further keyword arguments for timm.create_model, for example {pad_type: same}."""


class DomainPretrainingOptions(Options):
    """Masked language modelling on the texts of the domain before anything is learned from labels
    (Gururangan et al., "Don't Stop Pretraining", ACL 2020)."""

    epochs: int = Field(default=0, ge=0)
    """How often each text is seen, every time another excerpt of it; 0 leaves the encoder as it
    is. One more pass trains the output layer alone first."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """Peak rate of the layers; token embeddings stay."""
    batch_size: int = Field(default=32, ge=1)
    """Excerpts per step."""
    masked_share: float = Field(default=0.15, gt=0, lt=1)
    """Share of the tokens that are to be told from the others; of ten, eight are hidden, one is
    exchanged for any other and one left (Devlin et al., "BERT", NAACL 2019)."""
    excerpt_words: int = Field(default=40, ge=2)
    """Longest run of words that is read of a text at a time: the cost of an epoch."""
    max_general_drop_pp: float = Field(default=2.0, ge=0)
    """How many points the similarity of general sentences (100 times Spearman's correlation with
    grades) may fall; where it falls further the encoder stays what it was, and that is said."""


class FeatureOptions(Options):
    """How frozen features are made, and which other backbones are ranked beside the chosen one."""

    head: Literal["auto", "nearest_class_mean", "ridge", "logistic", "cache_model", "fusion"] = (
        "auto"
    )
    """The head on frozen features that fine-tuning begins with. `auto`: ridge or logistic
    regression, the better one on held-out folds. `cache_model`: in the manner of Tip-Adapter.
    `fusion`: of pairs, the best of `fusions` on held-out pairs, or one modality alone."""
    fusions: list[Fusion] = list(FUSIONS)
    """With the head `fusion`: which ones compete."""
    answer_precision: float = Field(default=0.5, ge=0, lt=1)
    """With the head `fusion`: an answer abstains below the confidence down to which answers to
    held-out pairs were right in this share; 0 never."""
    shards: int = Field(default=1, ge=1, le=256)
    """Steps that embed the examples side by side, each its share (on a cluster a pod each); another
    step puts them together. On one machine they share its cores: nothing gets faster."""
    views: int = Field(default=2, ge=1, le=8)
    """Copies per image (1: as it is, 2: mirrored too, 4: all flips, 8: with quarter turns; every
    second one shows the middle 70 % of the sides, enlarged) whose features train the probe and are
    averaged when predicting."""
    taps: int = Field(default=5, ge=0)
    """How many blocks before the last contribute their pooled output to the features."""
    augmented_views: int = Field(default=8, ge=0)
    """Augmented views per training example that train the probe beside it, where examples are few;
    more examples get fewer (see augmented_budget)."""
    augmented_budget: int = Field(default=800, ge=0)
    """Augmented views in all; none are made when they would be less than two per example."""
    augmentation: AugmentationOptions = AugmentationOptions(min_crop=0.3, colour_jitter=0.3)
    """What an augmented view of a frozen backbone may differ in: more than one that blocks are
    trained on, as only the head can be misled."""
    background_views: int = Field(default=2, ge=0)
    """With an unlabelled target: views of a source photo whose foreground, cut out of its plain
    background, lies on a crop of a target photo. None where the background is not plain."""
    target_views: int = Field(default=6, ge=0)
    """With an unlabelled target: augmented views per target example, for its adaptation."""
    adaptation_budget: int = Field(default=1600, ge=0)
    """Such views in all, of each of the two sorts; more examples get fewer views each."""
    candidates: list[BackboneOptions] = []
    """Other backbones to rank by LogME and a cross-validated probe (report only)."""
    ranking_images_per_class: int = Field(default=50, ge=2)
    """Training images per class that the ranking looks at."""
    domain_pretraining: DomainPretrainingOptions = DomainPretrainingOptions()
    """Texts, and the texts of pairs: the encoder learns the domain's language first, from training
    and unlabelled examples without their labels."""

    @model_validator(mode="after")
    def _one_encoder_for_all_shards(self) -> Self:
        if self.shards > 1 and self.domain_pretraining.epochs:
            raise ValueError(
                f"shards {self.shards} would each pre-train an encoder of their own: "
                "domain_pretraining.epochs needs shards 1"
            )
        return self
