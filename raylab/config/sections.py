"""The sections of a run's configuration."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo

from raylab.config.problems import lines_of
from raylab.errors import ConfigError
from raylab.plugins import load

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]


class Frozen(BaseModel):
    """Base of all of them: frozen, no unknown fields, only finite numbers, help texts from the docstrings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        """Check the values.

        Raises:
            ConfigError: a line for each field that is unknown or cannot have its value.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError("\n".join(lines_of(error, type(self)))) from None

    # Else pydantic makes the sections of a configuration by it too, and the first that fails hides the others.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


AS_STORED = {"load_plugins": False}
"""Context of a validation that reads a configuration back, of which nothing but its values is wanted."""


def _load(plugins: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    return plugins if info.context == AS_STORED else load(plugins)


class Extensible(Frozen):
    """Base of a configuration that plugins may add to; they come first, so that the fields after them know their rows.

    Which modules are loaded is no part of what decides a result: the rows that are used are.
    """

    plugins: Annotated[tuple[str, ...], AfterValidator(_load)] = ()
    """Modules to import first, which register strategies, maps, data sets or models: `my_module`, in the current folder
    or installed, or `folder/my_module`."""


class SyntheticConfig(Frozen):
    """Street scenes drawn by a seeded generator."""

    train_images: Positive = 48
    """Images in the pool."""
    val_images: Positive = 16
    """Images that mIoU is measured on."""
    height: Positive = 128
    """Pixels."""
    width: Positive = 192
    """Pixels."""
    seed: NonNegative = 0
    """Seed of the scenes (not of the run)."""


class DataConfig(Frozen):
    """Which images are the pool and the validation split."""

    name: str = "synthetic"
    """Data set in its official layout (`raylab datasets` lists them); `folder` is one of your own (images/, masks/,
    dataset.yaml)."""
    root: str | None = None
    """Folder or URI (s3://, gs://) of the data set, raw or packed by `raylab pack`; not used by `synthetic`."""
    train_list: str = "train"
    """The list of images that is the pool, where a data set brings several (VOC 2012: `train_aug` is SBD's)."""
    tile: Positive | None = None
    """Pixels of a side, a multiple of `regions.size`: larger images become tiles of at most this height and width, each
    an image of its own from then on. `raylab pack` stores the tiles, so that each is read by itself."""
    max_pixels: Positive = 2**25
    """Pixels of one image or tile above which it is refused (about 5,800 x 5,800): all of them go through the network
    together."""
    max_decoded_bytes: Positive = 3 * 2**30
    """Memory that decoding one file may take where it is decoded whole: a pixel takes 4 bytes in grey or by a palette,
    10 in colours, 19 in WebP, up to 28 with 16 bits a channel. Of tiled PNG (not interlaced) and TIFF files only bands
    of rows are decoded."""
    synthetic: SyntheticConfig = SyntheticConfig()

    @property
    def key(self) -> str:
        """The fields that say which data these are, wherever they lie, as text to tell data sets apart by."""
        fields = {"name", "synthetic"} if self.name == "synthetic" else {"name"}
        if self.name != "synthetic":
            fields |= {"train_list"} if self.train_list != "train" else set()
            fields |= {"tile"} if self.tile else set()
        return json.dumps(self.model_dump(mode="json", include=fields), sort_keys=True)


class RegionConfig(Frozen):
    """How images are cut into regions."""

    size: Positive = 32
    """N: side of a region in pixels (the paper: 128 on Cityscapes, 32 on VOC); a superpixel has about N x N of them."""
    shape: Literal["grid", "superpixels"] = "grid"
    """N x N tiles, or SLIC superpixels."""
    compactness: Annotated[float, Field(gt=0)] = 10.0
    """SLIC's weight of nearness in space against likeness in colour; higher gives squarer superpixels."""


class ModelConfig(Frozen):
    """DeepLabv3+ or FPN on a timm backbone."""

    architecture: str = "deeplabv3+"
    """`deeplabv3+`, `fpn` (that of RALIS, on which Table I compares), `fpn-smp` (segmentation_models_pytorch's), or
    another row of raylab.models.registry."""
    backbone: str = "tf_efficientnet_lite0"
    """Any timm model with features at strides 4 and 16 (the paper: xception41)."""
    weights: str = "imagenet"
    """`imagenet` (timm's default for the backbone, from a package or the hub), `hub:NAME` of timm's weights on the hub,
    `random`, or the path or URI of a .safetensors file: a backbone's, or a whole model's that raylab trained."""
    output_stride: Literal[8, 16, 32] = 16
    """Stride of the backbone's last features."""
    atrous_rates: tuple[Positive, ...] = (6, 12, 18)
    """Dilations of the ASPP's three branches."""
    channels: Positive = 256
    """Channels of the ASPP and the decoder: also the dimension of the region features."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the activations dropped before the classifier in training."""
    aspp_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share dropped after DeepLabv3+'s ASPP, in training and in the stochastic passes (the paper's DeepLabv3+: 0.1)."""

    @property
    def weights_by_name(self) -> bool:
        """Whether `weights` is a name that raylab or the hub knows, not a file."""
        return self.weights in ("imagenet", "random") or self.weights.startswith("hub:")


class TrainingConfig(Frozen):
    """One round's training, from the pre-trained backbone (docs/definitions.md)."""

    iterations: Positive | None = None
    """Optimiser steps a round; when not given, `epochs` over the labelled images."""
    epochs: Positive = 100
    """Passes over the images with at least one labelled region."""
    batch_size: Positive = 16
    """Crops in a global batch, over all workers."""
    crop: Positive = 513
    """Side of the random crop in pixels."""
    crop_tries: Positive = 1
    """Random crops drawn until one holds a labelled pixel; 1 is the paper's plain random crop."""
    scale: tuple[float, float] = (0.5, 2.0)
    """Range of the random scale."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    """Base rate of the poly schedule (the paper: 0.01 Cityscapes, 0.007 VOC)."""
    head_rate_factor: Annotated[float, Field(gt=0)] = 1.0
    """Rate of the freshly initialised head relative to the backbone's."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 4e-5
    power: Annotated[float, Field(gt=0)] = 0.9
    """Exponent of the poly schedule."""
    frozen_backbone: bool = False
    """Keep the pre-trained backbone and its batch norms as they are and train the head alone: a third of the time an
    iteration, for small machines. The paper trains all of it."""
    norm_images: NonNegative = 0
    """Labelled images, whole and not augmented, whose batch statistics replace the running averages after training
    ("precise batch norm", Wu & Johnson 2021); 0 keeps the averages over augmented crops, as the paper does."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: forward and backward under autocast; weights and optimiser stay float32."""
    channels_last: bool = True
    ensemble: Positive = 1
    """Models trained each round, of other heads and crops; the first is evaluated, BALD and vote entropy ask all."""
    checkpoint_every: Positive = 500
    """Iterations between checkpoints a killed training resumes from."""


class PretrainingConfig(Frozen):
    """A training on another data set's masks, before round 0, that every round then starts from (Table I: GTA5)."""

    iterations: NonNegative = 0
    """Optimiser steps; 0: none, every round starts from `model.weights` itself."""
    data: DataConfig = DataConfig(name="gta5")
    """The other data set; the decoder is taken over too, and the classifier where there are as many classes."""


class ScoringConfig(Frozen):
    """What is computed for every region of the pool."""

    passes: Positive = 10
    """T: stochastic passes of BALD and vote entropy with every model of the ensemble, where something is dropped."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of the activations dropped before the classifier in a stochastic pass; when not given, `model.dropout`."""
    pca: NonNegative = 128
    """Dimension the region features are reduced to (never above their own); 0 keeps them as they are."""
    batch_size: Positive = 4
    """Images in one forward pass, for scoring and evaluation."""


class BudgetConfig(Frozen):
    """How much each round labels."""

    unit: Literal["regions", "pixels", "clicks"] = "regions"
    """What a budget counts; clicks are those of drawing polygons, estimated from the masks (docs/definitions.md)."""
    initial: Positive = 1000
    """Budget of round 0, whose regions are drawn at random."""
    rounds: tuple[Positive, ...] = (1000, 2000, 4000, 8000, 16000)
    """Budgets of rounds 1, 2, ...; what a round leaves is the next one's to spend."""

    @property
    def total(self) -> int:
        """The budget of all rounds together."""
        return self.initial + sum(self.rounds)

    def scaled(self, factor: float) -> BudgetConfig:
        """Every round's budget times a factor, half rounded up, at least 1."""
        initial, *rounds = (max(1, math.floor(n * factor + 0.5)) for n in (self.initial, *self.rounds))
        return BudgetConfig(unit=self.unit, initial=initial, rounds=tuple(rounds))


class ExpectConfig(Frozen):
    """What a cluster that grows will have: a study has its autoscaler bring it, and waits for it before all else."""

    cpus: NonNegative = 0
    """CPUs of all nodes together."""
    gpus: NonNegative = 0
    """GPUs of all nodes together."""
    minutes: Annotated[float, Field(gt=0)] = 15.0
    """How long they are waited for before the study is given up."""


class ComputeConfig(Frozen):
    """What the run holds of the machine; none of it changes a result beyond float rounding."""

    backend: Literal["ray", "local"] = "ray"
    """local: everything one after another in the calling process, without Ray, for debugging, notebooks and tests;
    workers, scorers and the CPUs they ask for have no effect."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA where Ray has GPUs to give; with the local backend, where torch finds one."""
    grace: Annotated[float, Field(ge=0)] = 30.0
    """Seconds that runs have to commit what they are at, once SIGINT or SIGTERM asked the study to stop."""
    takeover: Annotated[float, Field(ge=1)] = 60.0
    """Seconds without a sign of life after which a process on another machine counts as dead, and who waits for it does
    its work."""
    workers: NonNegative = 1
    """Ray Train workers; 0: the whole run, scoring and selection too, is computed in one process, which is the cheapest
    way to fill a machine or a cluster with many small runs."""
    cpus_per_worker: Annotated[float, Field(gt=0)] = 1.0
    """CPUs that a worker asks Ray for; with workers 0, that a run does."""
    scorers: Positive = 1
    """Actors of the scoring pool."""
    cpus_per_scorer: Annotated[float, Field(gt=0)] = 1.0
    readers: Positive = 1
    """Tasks that decode images for the scorers at once. They take little and ask Ray for no CPU; a GPU needs several
    to be kept busy."""
    selectors: Positive = 1
    """Processes that the pool's features are spread over while regions are selected, each with a CPU or, where CuPy
    is used, a GPU: for pools that one machine's memory does not hold. The picks are the same for any number."""
    expect: ExpectConfig = ExpectConfig()
    """For clusters whose nodes come as they are asked for: `{gpus: 8}`."""
    max_failures: NonNegative = 3
    """Times that what lost a process or a node is tried again, going on after what it had kept."""
    checkpoint_seconds: Annotated[float, Field(gt=0)] = 300.0
    """Seconds between checkpoints, besides those of `training.checkpoint_every`; a killed training loses no more."""
    threads: Positive = 1
    """torch threads in every worker and scorer."""
    loader_workers: NonNegative = 0
    """DataLoader processes of every training worker; a GPU needs several to be kept busy."""
    compile: bool = False
    """Train through torch.compile: minutes of compiling a round, then faster steps on a recent GPU."""
