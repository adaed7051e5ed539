"""A mixture in one file: the same draw through torch, the compacted network, the engine and bare ONNX Runtime."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from scipy.special import softmax
from torch import Tensor, nn
from torch.func import functional_call

from model_store.onnx_file import format as file_format
from model_store.onnx_file.draws import member_and_noise
from model_store.onnx_file.reader import read_level_file
from model_store.storage.location import ZOO
from model_store.store import Store
from pruning.granularity.narrowing import narrow_module
from pruning.graph.compaction import Compaction, compact
from pruning.graph.folding import Folding, fold
from pruning.graph.forward import forward
from pruning.graph.network import Network
from pruning.graph.onnx_export import export_onnx, to_bytes
from service.inference.artifact import Artifact, read_artifact
from service.inference.autotune import autotune
from service.inference.bank import Bank
from service.inference.early_stopping import EarlyStopping
from service.inference.engine import Engine
from service.inference.graph import with_constants
from service.inference.session import Session
from service.scheduling.job import Job
from service.scheduling.scheduler import Scheduler
from tests.support.engines import KEY
from tests.support.same_draw import assert_close, network_of, random_images, random_pixels, traced, without
from training.bayesian.posterior import Posterior

MODEL = "cifar10-resnet20"
PIXELS, COUNTS = random_pixels(3, 8), (1, 2, 4)
IMAGES = random_images(PIXELS, 3, 0)


class Form(NamedTuple):
    """A member as a torch module, and on its way to the compacted network."""

    plain: nn.Module
    posterior: Posterior
    traced: Network
    folding: Folding
    compaction: Compaction

    @property
    def network(self) -> Network:
        return self.compaction.network


@pytest.fixture(scope="module")
def forms() -> list[Form]:
    """Four members of four widths, one of them pruned to single weights as well."""
    made = []
    for seed, (granularity, sparsity) in enumerate(
        (("weight", 0.8), ("channel", 0.3), ("channel", 0.6), ("channel", 0.8))
    ):
        plain, posterior = network_of("convnet", 3, seed=seed)
        left = without(traced(plain, posterior, PIXELS), posterior, granularity, sparsity)
        narrow = narrow_module(plain, left).eval()
        network = traced(narrow, left, PIXELS)
        folding = fold(network)
        made.append(Form(narrow, left, network, folding, compact(folding.network)))
    assert len({form.network.multiply_adds for form in made}) == 4
    return made


def artifact_of(forms: list[Form]) -> Artifact:
    return read_artifact(to_bytes(export_onnx(*(form.network for form in forms))))


def with_draw(model: onnx.ModelProto, member: int, weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The file with one draw of one member instead of random ones; other members' weights are as they come."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    constants = dict(weights)
    branches = [a.g for node in fixed.graph.node for a in node.attribute if a.name == file_format.THEN]
    if branches:
        constants |= {file_format.MEMBER: np.array([member], np.float32)}
    for graph in (*branches, fixed.graph):
        for node in [node for node in graph.node if node.output[0] in constants]:
            graph.node.remove(node)
    fixed.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return fixed


@pytest.mark.parametrize("count", COUNTS)
def test_the_same_draw(forms: list[Form], count: int) -> None:
    """Of each member: torch, traced, compacted, the service's graph, and the bare file in ONNX Runtime."""
    some = forms[:count]
    model, artifact = export_onnx(*(form.network for form in some)), artifact_of(some)
    for number, form in enumerate(some):
        noise = torch.Generator().manual_seed(number)
        drawn = {name: weight.draw(noise) for name, weight in form.posterior.weights.items()}
        with torch.no_grad():
            state = dict(form.posterior.rest) | drawn
            expected = functional_call(form.plain, state, (PIXELS.normalise(IMAGES),))
        by_node = {name: drawn[f"{name}.weight"] for name in form.traced.weighted}
        compacted = form.compaction.carry(form.folding.carry(by_node))
        assert_close(forward(form.network, IMAGES, compacted), expected, "compacted")
        member = artifact.members[number]
        weights = {weight.name: compacted[weight.name.removesuffix(".weight")].numpy() for weight in member.weights}
        (ours,) = Session(with_constants(member.graph, weights)).run({"images": IMAGES.numpy()})
        assert_close(torch.from_numpy(ours), expected, "the service's graph")
        prefix = file_format.member_prefix(number) if count > 1 else ""
        bare = with_draw(model, number, {f"{prefix}{name}": value for name, value in weights.items()})
        assert_close(run_bare(bare), expected, "bare ONNX Runtime")


@pytest.mark.parametrize("count", COUNTS)
def test_the_engines_draws_are_those_of_the_bare_file(forms: list[Form], count: int) -> None:
    """Draw by draw, members in turn."""
    some = forms[:count]
    model, artifact = export_onnx(*(form.network for form in some)), artifact_of(some)
    with ThreadPoolExecutor(1) as builders:
        bank = Bank(artifact, KEY)
        found = Engine(bank, builders).draws(IMAGES.numpy(), 4 * count)
    for draw, logits in enumerate(found):
        member = draw % count
        prefix = file_format.member_prefix(member) if count > 1 else ""
        bare = with_draw(model, member, {f"{prefix}{name}": value for name, value in bank.weights(draw).items()})
        assert_close(run_bare(bare), torch.from_numpy(logits), f"draw {draw}")


def run_bare(model: onnx.ModelProto) -> Tensor:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": IMAGES.numpy()})[0])


@pytest.mark.parametrize("count", COUNTS)
def test_members_compute_what_they_compute_alone(forms: list[Form], count: int) -> None:
    """Bit for bit; a mixture of one is its member, in its file, too."""
    some = forms[:count]
    with ThreadPoolExecutor(1) as builders:
        together = Engine(Bank(artifact_of(some), KEY), builders).draws(IMAGES.numpy(), 4 * count)
        alone = [Engine(Bank(artifact_of([form]), KEY), builders).draws(IMAGES.numpy(), 4 * count) for form in some]
    for draw, logits in enumerate(together):
        member, number = member_and_noise(draw, count)
        np.testing.assert_array_equal(logits, alone[member][number])
        if count == 1:
            assert (member, number) == (0, draw)


@pytest.mark.parametrize("members", [1, 2, 3, 4, 7])
def test_draws_take_turns_in_antithetic_pairs_of_one_member(members: int) -> None:
    """A round has one draw of each; its partners follow in the next; no noise is used twice."""
    turns = [member_and_noise(draw, members) for draw in range(8 * members)]
    assert [member for member, _ in turns] == [draw % members for draw in range(8 * members)]
    assert len({number for _, number in turns}) == len(turns)
    for start in range(0, len(turns), 2 * members):
        for draw in range(start, start + members):
            assert turns[draw][1] + 1 == turns[draw + members][1]
            assert turns[draw][1] % 2 == 0


def test_the_bare_file_picks_members_alike_and_means_what_the_engine_means(forms: list[Form]) -> None:
    """2,000 runs: each member as often, within chance, and the same mean prediction."""
    model = export_onnx(*(form.network for form in forms))
    onnxruntime.set_seed(5)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    runs = softmax(np.stack([session.run(None, {"images": IMAGES.numpy()})[0] for _ in range(2_000)]), -1)
    picker = onnx.ModelProto()
    picker.CopyFrom(model)
    picker.graph.output.append(onnx.helper.make_tensor_value_info(file_format.MEMBER, onnx.TensorProto.FLOAT, [1]))
    picking = onnxruntime.InferenceSession(picker.SerializeToString(), providers=["CPUExecutionProvider"])
    picked = [int(picking.run([file_format.MEMBER], {"images": IMAGES.numpy()})[0][0]) for _ in range(2_000)]
    assert np.abs(np.bincount(picked, minlength=4) - 500).max() < 5 * np.sqrt(2_000 * 0.25 * 0.75)
    with ThreadPoolExecutor(1) as builders:
        ours = softmax(Engine(Bank(artifact_of(forms), KEY), builders).draws(IMAGES.numpy(), 256), -1)
    error = np.sqrt(runs.var(0) / len(runs) + ours.var(0) / len(ours))
    assert (np.abs(runs.mean(0) - ours.mean(0)) < 5 * error + 1e-4).all()


def test_the_cost_of_a_draw_is_the_mean_of_the_members(forms: list[Form]) -> None:
    """In multiply-adds, rounded down; bombs are measured by the largest."""
    networks = [form.network for form in forms]
    file = read_level_file(to_bytes(export_onnx(*networks)))
    assert [member.multiply_adds for member in file.members] == [network.multiply_adds for network in networks]
    assert file.multiply_adds == sum(network.multiply_adds for network in networks) // 4
    assert file.operations == max(member.operations for member in file.members) > file.multiply_adds


def test_equal_prefixes_are_computed_once(forms: list[Form]) -> None:
    """Where all layers are random, draws of all members share the scaled pixels, and nothing else."""
    bank = Bank(artifact_of(forms), KEY)
    assert len(bank.prefixes) == 1
    assert bank.bytes_of(8) > bank.bytes_of(4) > bank.bytes_of(0)
    for draws in (0, 1, 5, 16, 33):
        assert bank.draws_in(bank.bytes_of(draws)) == draws
    with pytest.raises(ValueError, match="a block of a mixture has one draw, got 2"):
        Bank(artifact_of(forms), KEY, 2)


@pytest.mark.parametrize("count", COUNTS)
def test_answers_stop_after_whole_rounds(forms: list[Form], count: int) -> None:
    """Each image has as many draws of each member, those that the engine numbers first, in any batch."""
    calibration = Store.open(ZOO).manifest(MODEL, Store.open(ZOO).resolve(MODEL)).levels[0].calibration
    rule = EarlyStopping.from_calibration(calibration, 0.05, count)
    images = random_images(PIXELS, 24, 1).numpy()
    scheduler, builders = Scheduler(2), ThreadPoolExecutor(2)
    try:
        engine = autotune(artifact_of(forms[:count]), KEY, builders, 2)
        engine.prepare(64)
        jobs = [
            Job(engine, part, 64, lambda logits, *_: list(logits.swapaxes(0, 1)), rule) for part in (images, images[:3])
        ]
        for job in jobs:
            scheduler.submit(job)
        answers, again = (job.future.result() for job in jobs)
        expected = engine.draws(images, 64)
    finally:
        scheduler.close()
        builders.shutdown()
    used = {len(logits) for logits in answers}
    assert used <= set(rule.checkpoints)
    assert min(used) < 64
    assert all(draws % count == 0 for draws in used)
    for image, logits in enumerate(answers):
        np.testing.assert_allclose(logits, expected[: len(logits), image], rtol=1e-4, atol=1e-4)
    assert [len(logits) for logits in again] == [len(logits) for logits in answers[:3]]


def test_a_deadline_leaves_every_member_a_draw(forms: list[Form]) -> None:
    """However little time there is to build networks."""
    with ThreadPoolExecutor(1) as builders:
        bank = Bank(artifact_of(forms), KEY)
        bank.fill(64, builders, enough=lambda built: True)
    assert bank.draws == 4
