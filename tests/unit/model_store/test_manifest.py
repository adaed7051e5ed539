"""The manifest: the golden file, the round trip, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from model_store.errors import ManifestError, NewerSchemaError
from model_store.manifest import SCHEMA_VERSION, Manifest, read_manifest
from model_store.small_samples import DrawsGain, wilson_interval
from tests.support.stores import GOLDEN, golden_document

Document = dict[str, Any]
NAN = float("nan")

fractions = st.floats(0, 1)
counts = st.integers(0, 10**15)
# Offsets in whole minutes, as RFC 3339 has them.
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(min_value=datetime(1970, 1, 2), timezones=zones)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def encode(document: Document) -> bytes:
    """The document as JSON text; NaN and infinities as Python and JavaScript write them."""
    return json.dumps(document).encode()


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Manifests of any shape: names, figures, classes and moments all drawn."""
    golden = golden_document()
    names = draw(st.lists(st.from_regex(r"[a-z][a-z0-9_-]{0,31}", fullmatch=True), min_size=1, max_size=3, unique=True))
    levels = [draw(levels_called(name)) for name in names]
    return golden | {
        "model": draw(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)),
        "created": draw(moments).isoformat(),
        "classes": draw(st.lists(st.text(), min_size=2, max_size=5, unique=True)),
        "input": golden["input"] | {"height": draw(st.integers(1, 4096)), "channels": draw(st.sampled_from([1, 3]))},
        "training": golden["training"]
        | {
            "architecture": draw(st.text()),
            "seed": draw(st.integers()),
            "hyperparameters": draw(st.dictionaries(st.text(), json_values, max_size=3)),
        },
        "default_level": draw(st.sampled_from(names)),
        "levels": levels,
    }


@st.composite
def levels_called(draw: st.DrawFn, name: str) -> Document:
    """One level with drawn figures."""
    golden: Document = golden_document()["levels"][0]
    return golden | {
        "name": name,
        "file": f"{name}/model.onnx",
        "bytes": draw(st.integers(1, 10**15)),
        "sha256": draw(st.text("0123456789abcdef", min_size=64, max_size=64)),
        "sparsity": draw(fractions),
        "parameters": draw(counts),
        "metrics": golden["metrics"]
        | {
            "accuracy": draw(fractions),
            "nll": draw(st.floats(0, allow_infinity=False)),
            "ood_auroc": draw(st.dictionaries(st.text(), fractions, max_size=3)),
        },
        "calibration": golden["calibration"] | {"temperature": draw(st.floats(1e-9, 1e9))},
        "members": draw(st.integers(1, 100)),
        "mean_network": draw(st.none() | st.just(golden["mean_network"])),
        "reference": golden["reference"] | {"entropy": draw(st.lists(fractions, min_size=1, max_size=30))},
    }


def test_the_golden_manifest_is_read() -> None:
    manifest = read_manifest(GOLDEN.read_bytes())
    assert (manifest.model, manifest.version) == ("cifar10-resnet20", "20261123-075100-3f9ca1")
    assert manifest.created == datetime(2026, 11, 23, 7, 51, tzinfo=UTC)
    assert len(manifest.classes) == 10
    assert manifest.training.hyperparameters["limit"] is None
    assert [level.name for level in manifest.levels] == ["dense", "p80"]
    p80 = manifest.level("p80")
    assert p80 is not None
    assert (p80.bytes, p80.granularity, p80.multiply_adds) == (412334, "channel", 8_800_000)
    assert p80.metrics.ood_auroc == {"cifar100": 0.8704, "svhn": 0.9215}
    assert p80.calibration.conformal_quantiles == {"0.1": 0.3527, "0.05": 0.6218, "0.01": 0.9287}
    assert math.isclose(sum(p80.reference.confidence), 1.0)
    assert manifest.level("p99") is None


def test_what_the_first_schema_did_not_record_is_filled() -> None:
    """A version of before is read, and says of what was unknown then that it is not known."""
    old = read_manifest(GOLDEN.with_name("manifest-v1.json").read_bytes())
    assert old.schema_version == 1
    for level in old.levels:
        assert level.calibration.aps_quantiles == {}
        assert level.calibration.out_of_distribution is None
        assert level.roundings == {}
        assert (level.members, level.mean_network, level.coverage) == (1, None, {})
        assert (level.metrics.abstained, level.reference.edges) == (None, None)
    assert old.training.hessian_left is None
    new = read_manifest(GOLDEN.read_bytes())
    as_then = [level.metrics.model_copy(update={"abstained": None, "test_images": None}) for level in new.levels]
    assert [level.metrics for level in old.levels] == as_then
    assert [
        level.calibration.out_of_distribution.score for level in new.levels if level.calibration.out_of_distribution
    ] == [*("entropy", "energy")]


def test_levels_of_the_second_schema_are_computed_in_float32() -> None:
    """There were no others; the rest is read as it is now."""
    old, new = (read_manifest(GOLDEN.with_name(f"manifest-v{number}.json").read_bytes()) for number in (2, 3))
    assert old.schema_version == 2
    assert [level.roundings for level in old.levels] == [{}, {}]
    assert list(new.levels[1].roundings) == ["pixels", "0.relu"]
    assert old.levels == tuple(level.model_copy(update={"roundings": {}}) for level in new.levels)
    assert old.to_json() != new.to_json()


def test_the_fourth_schema_compares_draws_with_their_mean() -> None:
    """Draws gain where their NLL is lower by more than two standard errors of the paired difference."""
    dense, p80 = read_manifest(GOLDEN.read_bytes()).levels
    assert dense.mean_network is not None
    assert p80.mean_network is not None
    assert (dense.mean_network.draws_gain, p80.mean_network.draws_gain) == (DrawsGain.CLEAR, DrawsGain.NOTHING)
    lost = dense.mean_network.model_copy(update={"nll_gain": -0.0064})
    assert lost.draws_gain is DrawsGain.NOTHING


def test_the_writer_writes_the_golden_manifest() -> None:
    written = Manifest.model_validate(golden_document()).to_json()
    assert json.loads(written) == golden_document()
    assert written.endswith(b"}\n")
    # Pairs compare the order of the keys too.
    assert json.loads(written, object_pairs_hook=list) == json.loads(GOLDEN.read_bytes(), object_pairs_hook=list)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(documents())
def test_round_trip(document: Document) -> None:
    manifest = read_manifest(encode(document))
    assert read_manifest(manifest.to_json()) == manifest
    written = json.loads(manifest.to_json())
    assert datetime.fromisoformat(written.pop("created")) == datetime.fromisoformat(document.pop("created"))
    assert written == document


@pytest.mark.parametrize(
    "place",
    [
        lambda d: d,
        lambda d: d["input"],
        lambda d: d["training"],
        lambda d: d["levels"][0],
        lambda d: d["levels"][1]["metrics"],
        lambda d: d["levels"][1]["calibration"],
        lambda d: d["levels"][1]["monte_carlo"],
        lambda d: d["levels"][1]["reference"],
        lambda d: d["levels"][1]["mean_network"],
        lambda d: d["levels"][1]["reference"]["edges"],
    ],
    ids=[
        *("manifest", "input", "training", "level", "metrics", "calibration", "monte_carlo", "reference"),
        *("mean_network", "edges"),
    ],
)
def test_every_key_is_known_and_none_may_be_missing(place: Callable[[Document], Document]) -> None:
    document = golden_document()
    place(document)["surprise"] = 1
    with pytest.raises(ManifestError, match="surprise"):
        read_manifest(encode(document))
    # `schema_version`, `task` and `resize` have one value each, which the reader may fill in.
    for key in place(golden_document()).keys() - {"schema_version", "task", "resize"}:
        document = golden_document()
        del place(document)[key]
        with pytest.raises(ManifestError, match=key):
            read_manifest(encode(document))


@pytest.mark.parametrize("newer", [SCHEMA_VERSION + 1, 99])
def test_a_newer_schema_is_refused_naming_both_versions(newer: int) -> None:
    # A newer manifest may look like nothing we know: the version decides before anything else is looked at.
    with pytest.raises(NewerSchemaError, match=rf"\b{newer}\b.*\b{SCHEMA_VERSION}\b"):
        read_manifest(encode({"schema_version": newer, "renamed": []}))


@pytest.mark.parametrize("schema", [0, -1, "1", 1.5, True, None, [1]])
def test_a_schema_version_that_never_was_is_refused(schema: object) -> None:
    with pytest.raises(ManifestError) as caught:
        read_manifest(encode(golden_document() | {"schema_version": schema}))
    assert not isinstance(caught.value, NewerSchemaError)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000, b"{}"])
def test_what_is_no_manifest_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestError, match="manifest"):
        read_manifest(data)


def set_in(*path: str | int, value: object) -> Callable[[Document], None]:
    """A change to a document: `value` at `path`."""

    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


BAD = {
    "default level that is not there": (set_in("default_level", value="p99"), "p99 is not among the levels dense, p80"),
    "file above its folder": (set_in("levels", 1, "file", value="../x"), "must be p80/model.onnx"),
    "absolute file": (set_in("levels", 1, "file", value="/etc/passwd"), "must be p80/model.onnx"),
    "file of another level": (set_in("levels", 1, "file", value="dense/model.onnx"), "must be p80/model.onnx"),
    "level name that is a path": (set_in("levels", 1, "name", value="../p80"), "levels.1.name"),
    "model name that is a path": (set_in("model", value="../other"), "model"),
    "version with a newline": (set_in("version", value="20261123-075100-3f9ca1\n"), "version"),
    "NaN accuracy": (set_in("levels", 0, "metrics", "accuracy", value=NAN), "levels.0.metrics.accuracy"),
    "infinite loss": (set_in("levels", 0, "metrics", "nll", value=math.inf), "levels.0.metrics.nll"),
    "NaN AUROC": (set_in("levels", 0, "metrics", "ood_auroc", value={"svhn": NAN}), "ood_auroc.svhn"),
    "NaN hyperparameter": (set_in("training", "hyperparameters", value={"beta": [NAN]}), "hyperparameters"),
    "accuracy in percent": (set_in("levels", 0, "metrics", "accuracy", value=91.0), "accuracy"),
    "temperature zero": (set_in("levels", 0, "calibration", "temperature", value=0.0), "temperature"),
    "no draws": (set_in("levels", 0, "monte_carlo", "draws", value=0), "draws"),
    "empty file": (set_in("levels", 0, "bytes", value=0), "bytes"),
    "short checksum": (set_in("levels", 0, "sha256", value="c47a9b"), "sha256"),
    "checksum in capitals": (set_in("levels", 0, "sha256", value="AB" * 32), "sha256"),
    "moment without a time zone": (set_in("created", value="2026-11-23T07:51:00"), "created"),
    "two channels": (set_in("input", "channels", value=2), "channels"),
    "one class": (set_in("classes", value=["only"]), "classes"),
    "a class twice": (set_in("classes", value=["cat", "dog", "cat"]), "two classes share a name"),
    "no level": (set_in("levels", value=[]), "levels"),
    "a bin too few": (set_in("levels", 1, "reference", "entropy", value=[0.5, 0.5]), "entropy must have one bin more"),
    "edges that descend": (
        set_in("levels", 1, "reference", "edges", "confidence", value=[0.9, 0.8, 0.99]),
        "edges of confidence must ascend",
    ),
    "no member": (set_in("levels", 1, "members", value=0), "members"),
    "coverage of another set": (set_in("levels", 1, "coverage", value={"raps": {"0.1": 0.9}}), "coverage.raps"),
    "empty histogram": (set_in("levels", 0, "reference", "confidence", value=[]), "confidence"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD.keys())
def test_values_that_make_no_sense_are_refused(change: Callable[[Document], None], message: str) -> None:
    document = golden_document()
    change(document)
    with pytest.raises(ManifestError, match=message):
        read_manifest(encode(document))


def test_two_levels_of_one_name_are_refused() -> None:
    document = golden_document()
    document["levels"].append(document["levels"][0])
    with pytest.raises(ManifestError, match="two levels share a name"):
        read_manifest(encode(document))


def test_a_manifest_with_many_mistakes_is_reported_in_short() -> None:
    document = golden_document() | {f"surprise{i}": i for i in range(40)}
    with pytest.raises(ManifestError, match=r"and 37 more") as caught:
        read_manifest(encode(document))
    assert len(str(caught.value)) < 400


def test_a_manifest_is_frozen() -> None:
    manifest = read_manifest(GOLDEN.read_bytes())
    for owner, name in [(manifest, "default_level"), (manifest.training, "seed"), (manifest.levels[0], "sha256")]:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(owner, name, getattr(owner, name))
    assert isinstance(manifest.levels, tuple)
    assert isinstance(manifest.classes, tuple)


def test_a_writer_cannot_build_a_nan_either() -> None:
    metrics = read_manifest(GOLDEN.read_bytes()).levels[0].metrics
    with pytest.raises(ValidationError, match="finite"):
        type(metrics)(**metrics.model_dump() | {"ece": NAN})


def test_sets_that_a_calibration_is_too_small_for_are_named() -> None:
    """With the images that each takes."""
    calibration = read_manifest(GOLDEN.read_bytes()).levels[0].calibration
    assert calibration.missing_sets == {}
    few = calibration.model_copy(update={"conformal_quantiles": {"0.1": 0.9}})
    assert few.missing_sets == {"0.05": 19, "0.01": 99}


def test_accuracy_has_the_interval_of_its_images() -> None:
    metrics = read_manifest(GOLDEN.read_bytes()).levels[0].metrics
    assert metrics.accuracy_interval == wilson_interval(metrics.accuracy, 10_000)
