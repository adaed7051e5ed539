"""Define one pruning level of a version."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import FailFast, Field, model_validator

from model_store.manifest.calibration import Calibration
from model_store.manifest.fields import Count, Fraction, LevelName, Positive, SetKind, Sha256, Since, Strict
from model_store.manifest.quality import MeanNetwork, Metrics, MonteCarlo, Reference


class Rounding(Strict):
    """Quantization of a tensor x to uint8: round(x / scale) + zero_point, halves to even."""

    scale: Annotated[float, Field(ge=1e-30, le=1e30)]
    zero_point: Annotated[int, Field(ge=0, le=255)]


class Level(Strict):
    """One pruning level: its file, sparsity, cost and quality.

    `sparsity` is the fraction of the dense network's random weights that were removed; `parameters` counts nonzero
    parameters; `multiply_adds` is the cost of one draw for one image. `shared` names the tensors at which the part of
    the graph ends that all draws share. `roundings` quantizes the tensors between convolutions that run in eight bits,
    as they did for all figures here. `members` are the independent posteriors through which draws take turns.
    `coverage` is the share of test images whose prediction set contains the label, by kind of set and by nominal error
    rate α as text.
    """

    name: LevelName
    file: str
    bytes: Positive
    sha256: Sha256
    criterion: str
    granularity: Literal["none", "weight", "channel"]
    sparsity: Fraction
    parameters: Count
    multiply_adds: Count
    shared: Annotated[tuple[str, ...], FailFast(), Since(2)] = ()
    roundings: Annotated[dict[str, Rounding], Since(3)] = Field(default_factory=dict)
    members: Annotated[Positive, Since(4)] = 1
    metrics: Metrics
    mean_network: Annotated[MeanNetwork | None, Since(4)] = None
    calibration: Calibration
    coverage: Annotated[dict[SetKind, dict[str, Fraction]], Since(4)] = Field(default_factory=dict)
    monte_carlo: MonteCarlo
    reference: Reference

    @property
    def draws(self) -> int:
        """Return the default number of draws."""
        return self.monte_carlo.draws

    @model_validator(mode="after")
    def _file_lies_in_its_folder(self) -> Level:
        expected = f"{self.name}/model.onnx"
        if self.file != expected:
            raise ValueError(f"file of level {self.name} must be {expected}")
        return self
