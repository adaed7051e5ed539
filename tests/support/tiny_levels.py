"""Publish versions of tiny networks that need no training, some of which take for ever to compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_store.manifest import SCHEMA_VERSION, Manifest
from model_store.manifest.integrity import sha256
from model_store.onnx_file.reader import read_level_file
from model_store.store import Store
from pruning.graph.onnx_export import stamp

FIRST, SECOND = "20261101-000000-aaaaaa", "20261102-000000-bbbbbb"


def network(zoo: onnx.ModelProto, *, side: int, classes: int, channels: int, convolutions: int) -> onnx.ModelProto:
    """Convolutions with fixed weights, in a chain, before a random linear layer."""
    generator = np.random.default_rng(0)
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], name="floats", to=1),
        helper.make_node("Transpose", ["floats"], ["x0"], name="x0", perm=[0, 3, 1, 2]),
    ]
    constants = {"bias": np.zeros(classes, np.float32)}
    for number in range(convolutions):
        kernel = (channels, channels if number else 3, 3, 3)
        constants |= {f"k{number}": np.zeros(kernel, np.float32), f"b{number}": np.zeros(channels, np.float32)}
        inputs = [f"x{number}", f"k{number}", f"b{number}"]
        name = f"x{number + 1}"
        nodes.append(helper.make_node("Conv", inputs, [name], name=name, pads=[1, 1, 1, 1], strides=[1, 1]))
    features = channels if convolutions else 3
    constants |= {"w.mean": generator.normal(size=(classes, features)).astype(np.float32)}
    constants |= {"w.scale": np.full((classes, features), 1e-3, np.float32)}
    nodes += [
        helper.make_node("GlobalAveragePool", [f"x{convolutions}"], ["pooled"], name="pooled"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flat"),
        helper.make_node("GaussianWeight", ["w.mean", "w.scale"], ["w"], name="w", domain="slimbayes"),
        helper.make_node("Gemm", ["flat", "w", "bias"], ["logits"], name="logits", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "slimbayes",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", side, side, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("slimbayes", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(zoo.functions))


def publish_tiny(
    store: Path,
    model: str = "tiny",
    version: str = FIRST,
    levels: Sequence[str] = ("a",),
    *,
    side: int = 8,
    classes: int = 10,
    channels: int = 4,
    convolutions: int = 0,
) -> Path:
    """Publish a version and return its folder; its levels are alike."""
    zoo = Store.open("zoo")
    (name,) = zoo.models()
    described = zoo.manifest(name, zoo.resolve(name))
    template = onnx.load_model_from_string(zoo.read_level(described, described.levels[-1].name))
    built = network(template, side=side, classes=classes, channels=channels, convolutions=convolutions)
    files = {level: stamp(built, model, version, level) for level in levels}
    entries = [
        described.levels[-1].model_copy(
            update={
                "name": level,
                "file": f"{level}/model.onnx",
                "bytes": len(data),
                "sha256": sha256(data),
                "multiply_adds": read_level_file(data).multiply_adds,
                "roundings": {},
                "shared": (),
            }
        )
        for level, data in files.items()
    ]
    shape = described.input.model_copy(update={"height": side, "width": side})
    names = {"model": model, "version": version, "default_level": levels[0], "input": shape}
    manifest: Manifest = described.model_copy(
        update=names | {"classes": tuple(f"c{n}" for n in range(classes)), "levels": tuple(entries)}
    )
    manifest = Manifest.model_validate(manifest.model_dump() | {"schema_version": SCHEMA_VERSION})
    Store.create(store).publish(manifest, files)
    return store / model / version
