"""Define the manifest: the contract between writers and readers of a version.

Frozen and strict: an unknown key is an error, a newer schema is refused by name, an older one has exactly the keys it
had. Every changed field raises SCHEMA_VERSION, as CONTRIBUTING.md says. Quality is measured on the test set,
calibration comes from the calibration set, entropies and mutual information are in nats.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import from_json

from model_store.errors import ManifestError, NewerSchemaError
from model_store.names import ALIAS_OR_LEVEL, MODEL_NAME, VERSION_NAME
from model_store.small_samples import ALPHAS, DrawsGain, images_needed, judge, wilson_interval

SCHEMA_VERSION: Final = 4
# Name in the version's folder.
MANIFEST = "manifest.json"
# About ten times what a thousand classes and ten levels need. Reporting a fault in each of more keys would take
# hundreds of megabytes.
MAX_MANIFEST_BYTES, MAX_MANIFEST_KEYS = 2**20, 50_000
# One byte more than allowed is read, so that a longer manifest is noticed.
MANIFEST_READ_BYTES = MAX_MANIFEST_BYTES + 1

ModelName = Annotated[str, StringConstraints(pattern=MODEL_NAME)]
LevelName = Annotated[str, StringConstraints(pattern=ALIAS_OR_LEVEL)]
VersionName = Annotated[str, StringConstraints(pattern=VERSION_NAME)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
# FailFast reports only the first fault of a sequence: a list of a million faults would take gigabytes.
Histogram = Annotated[tuple[Fraction, ...], Field(min_length=1, max_length=1_000), FailFast()]
InnerEdges = Annotated[tuple[NonNegative, ...], Field(max_length=999), FailFast()]
SetKind = Literal["lac", "aps"]
# Error rate of prediction sets where a request names none.
DEFAULT_ALPHA: Final = 0.1


@dataclass(frozen=True)
class Since:
    """Mark the schema that introduced a field; earlier manifests lack it, and reading them fills in its default."""

    schema: int


class Strict(BaseModel):
    """Frozen model in which an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def since(cls, name: str) -> int:
        """Return the schema that introduced a field."""
        return max((each.schema for each in cls.model_fields[name].metadata if isinstance(each, Since)), default=1)


class InputShape(Strict):
    """Shape of one image: pixels as decoded, uint8 [height, width, channels]."""

    height: Annotated[int, Field(ge=1, le=4096)]
    width: Annotated[int, Field(ge=1, le=4096)]
    channels: Literal[1, 3]
    resize: Literal["center-crop"] = "center-crop"


class Training(Strict):
    """Origin of the posterior.

    `hessian_left` is the share of IVON's initial Hessian that is left at the end, in the median of the Hessian with the
    prior's part.
    """

    architecture: str
    estimator: str
    dataset: str
    epochs: Count
    seed: int
    world_size: Positive
    hyperparameters: dict[str, Any]
    code_version: str
    hessian_left: Annotated[Fraction | None, Since(4)] = None

    @field_validator("hyperparameters")
    @classmethod
    def _is_json(cls, values: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(values, allow_nan=False)
        except TypeError as error:
            raise ValueError(str(error)) from error
        return values


class Metrics(Strict):
    """Quality of a level's draws on the test set.

    `ece` has 15 bins, `ood_auroc` one value per out-of-distribution set. `abstained` is the share of images on which
    the default threshold abstains, `test_images` their number.
    """

    accuracy: Fraction
    nll: NonNegative
    brier: NonNegative
    ece: Fraction
    aurc: Fraction
    mutual_information: NonNegative
    ood_auroc: dict[str, Fraction]
    abstained: Annotated[Fraction | None, Since(4)] = None
    test_images: Annotated[Positive | None, Since(4)] = None

    @property
    def accuracy_interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the accuracy, None where the number of images is not known."""
        return None if self.test_images is None else wilson_interval(self.accuracy, self.test_images)


class MeanNetwork(Strict):
    """Quality of the posterior's mean as one network, one pass, on the test set.

    `temperature` is its own, from the calibration set. `nll_gain` is how much lower the NLL of the draws is, and
    `nll_gain_error` the standard error of that mean of paired differences over images.
    """

    temperature: Annotated[float, Field(ge=1e-9, le=1e9)]
    accuracy: Fraction
    nll: NonNegative
    ece: Fraction
    nll_gain: float
    nll_gain_error: NonNegative

    @property
    def draws_gain(self) -> DrawsGain:
        """Judge whether draws have a lower NLL."""
        return judge(self.nll_gain, self.nll_gain_error)


Score = Literal["mutual_information", "entropy", "one_minus_confidence", "energy"]


class Strangeness(Strict):
    """Out-of-distribution rule: an OOD score by name, and the threshold above which an image is out of distribution."""

    score: Score
    above: float


class Calibration(Strict):
    """Parameters that turn draws into decisions.

    `conformal_quantiles`: error rate α, as text, to the quantile of 1 − p̄ of the true class, for those of ALPHAS that
    the number of calibration images allows.
    `aps_quantiles`: the same of adaptive prediction sets' randomised score (Romano et al. 2020).
    `abstain_above`: predictive entropy, in nats, above which the service abstains.
    `images`: the number of calibration images.
    `folds`: 1 where these are no test images; else they are the test images, and each of so many parts of them was
    tested with what the others alone say.
    """

    temperature: Annotated[float, Field(ge=1e-9, le=1e9)]
    conformal_quantiles: dict[str, Fraction]
    aps_quantiles: Annotated[dict[str, Fraction], Since(2)] = Field(default_factory=dict)
    abstain_above: NonNegative
    out_of_distribution: Annotated[Strangeness | None, Since(2)] = None
    images: Annotated[Positive | None, Since(4)] = None
    folds: Annotated[Positive, Since(4)] = 1

    @property
    def missing_sets(self) -> dict[str, int]:
        """Return the error rates α, as text, without prediction sets, and the calibration images that each takes."""
        return {str(alpha): images_needed(alpha) for alpha in ALPHAS if str(alpha) not in self.conformal_quantiles}


class MonteCarlo(Strict):
    """Default number of draws and the standard error of the top probability at it, mean over the test set."""

    draws: Positive
    standard_error: NonNegative


class Edges(Strict):
    """Inner edges of a reference's bins, ascending: quantiles of what it was measured on."""

    confidence: InnerEdges
    entropy: InnerEdges
    mutual_information: InnerEdges


class Reference(Strict):
    """Histograms on the test set, as fractions of bins of confidence over [0, 1], and of the others over [0, ln K].

    Bins are those between `edges`, each with its lower edge, or equal ones without them.
    """

    confidence: Histogram
    entropy: Histogram
    mutual_information: Histogram
    edges: Annotated[Edges | None, Since(4)] = None

    @model_validator(mode="after")
    def _edges_ascend_and_fit(self) -> Reference:
        for name, edges in self.edges or ():
            if len(edges) + 1 != len(getattr(self, name)):
                raise ValueError(f"{name} must have one bin more than inner edges")
            if any(low >= high for low, high in pairwise(edges)):
                raise ValueError(f"edges of {name} must ascend")
        return self


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


class Recalibration(Strict):
    """Labelled pictures on which the version `calibration_of` was calibrated anew, which gave this one.

    The level files are those of `files_version`, written in `files_schema`. `folder` is the name of the pictures'
    folder, `pictures` their number by class, `digest` the SHA-256 of their labels and contents.
    """

    files_version: VersionName
    files_schema: Positive
    calibration_of: VersionName
    folder: str
    pictures: dict[str, Positive]
    digest: Sha256
    code_version: str


class Manifest(Strict):
    """One version of one model; `recalibration` is None where its levels were calibrated when they were pruned."""

    schema_version: Literal[1, 2, 3, 4] = SCHEMA_VERSION
    model: ModelName
    version: VersionName
    created: AwareDatetime
    task: Literal["image-classification"] = "image-classification"
    classes: Annotated[tuple[str, ...], Field(min_length=2), FailFast()]
    input: InputShape
    training: Training
    default_level: LevelName
    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=100), FailFast()]
    recalibration: Annotated[Recalibration | None, Since(4)] = None

    @model_validator(mode="after")
    def _names_are_unique_and_known(self) -> Manifest:
        names = [level.name for level in self.levels]
        if len(set(names)) != len(names):
            raise ValueError("two levels share a name")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("two classes share a name")
        if self.default_level not in names:
            raise ValueError(f"default_level {self.default_level} is not among the levels {', '.join(names)}")
        if self.recalibration and (unknown := self.recalibration.pictures.keys() - set(self.classes)):
            raise ValueError(f"recalibration has pictures of {min(unknown)!r}, which is no class")
        return self

    @model_validator(mode="after")
    def _has_what_its_schema_has(self) -> Manifest:
        for where, record in _records(self):
            for name in type(record).model_fields:
                given, since = name in record.model_fields_set, type(record).since(name)
                if given and since > self.schema_version:
                    raise ValueError(f"{where}{name} needs schema version {since}, this is {self.schema_version}")
                if not given and 1 < since <= self.schema_version:
                    raise ValueError(f"{where}{name} is missing: schema version {since} requires it")
        return self

    @property
    def files_of(self) -> tuple[str, int]:
        """Return the version and schema that the level files were written for."""
        earlier = self.recalibration
        return (earlier.files_version, earlier.files_schema) if earlier else (self.version, self.schema_version)

    def level(self, name: str) -> Level | None:
        """Return the level called `name`, or None."""
        return next((level for level in self.levels if level.name == name), None)

    def to_json(self) -> bytes:
        """Return the manifest as stored: UTF-8, indented, ending in a newline, with the keys of its schema."""
        return self.model_dump_json(indent=2, exclude=_later(self, self.schema_version)).encode() + b"\n"


def read_manifest(data: bytes) -> Manifest:
    """Parse and validate the bytes of a manifest.

    Raises:
        NewerSchemaError: its schema is newer than this code.
        ManifestError: anything else is wrong with it.
    """
    if len(data) > MAX_MANIFEST_BYTES or data.count(b":") > MAX_MANIFEST_KEYS:
        raise ManifestError(f"the manifest has more than {MAX_MANIFEST_BYTES:,} bytes or {MAX_MANIFEST_KEYS:,} keys")
    try:
        document = from_json(data)
    except ValueError as error:
        raise ManifestError(f"the manifest is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ManifestError("the manifest must be a JSON object")
    found = document.get("schema_version")
    if not isinstance(found, int) or isinstance(found, bool):
        raise ManifestError("the manifest must have a whole number as schema_version")
    if found > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"the manifest has schema version {found}, but this Slimbayes reads up to {SCHEMA_VERSION}: upgrade it"
        )
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise ManifestError(f"the manifest is not valid: {_summary(error)}") from error
    for where, record in _records(manifest):
        for name, value in record:
            if isinstance(value, int) and abs(value) > sys.float_info.max:
                raise ManifestError(f"the manifest is not valid: {where}{name} is no number that can be computed with")
    return manifest


def _records(record: Strict, where: str = "") -> Iterator[tuple[str, Strict]]:
    """Yield a record and all records within it, each with its dotted path."""
    yield where, record
    for name, value in record:
        for place, each in enumerate(value) if isinstance(value, tuple) else [(None, value)]:
            if isinstance(each, Strict):
                yield from _records(each, f"{where}{name}." if place is None else f"{where}{name}.{place}.")


def _later(record: Strict, schema: int) -> dict[str, Any]:
    """Return the fields that are newer than a schema, as pydantic's `exclude` takes them."""
    excluded: dict[str, Any] = {}
    for name, value in record:
        if record.since(name) > schema:
            excluded[name] = True
        elif isinstance(value, Strict):
            excluded[name] = _later(value, schema)
        elif isinstance(value, tuple):
            excluded[name] = {n: _later(each, schema) for n, each in enumerate(value) if isinstance(each, Strict)}
    return {name: within for name, within in excluded.items() if within}


def _summary(error: ValidationError) -> str:
    places = [
        f"{'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}"
        for e in error.errors(include_url=False, include_context=False, include_input=False)[:3]
    ]
    more = error.error_count() - len(places)
    return "; ".join(places) + (f" (and {more} more)" if more > 0 else "")
