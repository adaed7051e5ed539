"""`slimbayes demo`: train, prune, publish, serve and predict on real digits, each stage a command of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.columns import Columns
from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.rule import Rule

from model_store.reports.mean_network import mean_table
from model_store.reports.tables import levels_table
from model_store.text import printable
from service.api.schemas import Prediction
from service.cli.main import reporting
from service.cli.serve import build_server, prepare_process
from service.client import Client
from service.errors import ServiceError
from service.http.server import bind
from service.settings import Settings

MODEL = "digits"
LEVELS, NUM_DRAWS = "p50,p80,p90,p95", 32
SHOWN = 3
TIMED_REQUESTS = 20
READY_TIMEOUT_S = 60.0
SHADES = " ░▒▓█"
Picture = tuple[str, bytes]


class Demo:
    """Run the demonstration; the training run is written beside the store."""

    def __init__(self, store: Path, port: int, seed: int) -> None:
        self.store, self.port, self.seed = store, port, seed
        self.folder = store.parent / "runs" / "demo"
        self.console = Console()

    def run(self, *, serve_on: bool) -> None:
        """Run every stage in turn; then serve until Ctrl-C, or stop."""
        if find_spec("torch") is None:
            raise ServiceError(
                "the demonstration includes training, which needs the train extra: pip install 'slimbayes[train]'"
            )
        settings = Settings.read(store=self.store, port=self.port, default_model=MODEL, max_images=32)
        bound = bind(settings)  # a port in use is reported now, not after the training
        self._stage("Train a Bayesian convolutional network on scikit-learn's digits")
        options = ("--data", "digits", "--seed", str(self.seed), "--out", str(self.folder), "--overwrite")
        self._command("training", *options)
        self._stage("Prune, fine-tune, compact, evaluate, export and publish")
        # Draws are what it demonstrates, whether or not they gain anything on digits.
        levels = ("--levels", LEVELS, "--draws", str(NUM_DRAWS))
        publication = (*levels, "--store", str(self.store), "--model", MODEL, "--alias", "production")
        self._command("pruning", str(self.folder), *publication)
        self._stage("Serve, and POST held-out digits")
        server = build_server(settings, bound)
        prepare_process()
        thread = threading.Thread(target=server.run, name="server")
        thread.start()
        try:
            self._predict(server.url)
            if serve_on:
                self._wait(server.url)
        finally:
            server.stop()
            thread.join()

    def _stage(self, title: str) -> None:
        self.console.print(Rule(f"[bold]{title}", align="left"))

    def _command(self, package: str, *arguments: str) -> None:
        self.console.print(f"$ python -m {package} {' '.join(arguments)}", style="dim", soft_wrap=True, highlight=False)
        # For images of 8 x 8, threads wait for each other longer than they compute.
        environment = {"OMP_NUM_THREADS": "1"} | os.environ
        command = [sys.executable, "-m", package, *arguments]
        if subprocess.run(command, env=environment, check=False).returncode != 0:
            raise ServiceError(f"the demonstration stops: python -m {package} failed, see above")

    def _predict(self, url: str) -> None:
        with Client(url) as client:
            _until_ready(client)
            examples = sorted((self.folder / "examples").glob("*.png"))
            digits = [(path.name, path.read_bytes()) for path in examples]
            command = f"$ slimbayes predict {self.folder}/examples/*.png --url {url}"
            self.console.print(command, style="dim", soft_wrap=True, highlight=False)
            self._show_answers(client, digits)
            self._show_levels(client, digits[:TIMED_REQUESTS])

    def _show_answers(self, client: Client, digits: list[Picture]) -> None:
        noise = [(f"noise-{number}.png", _noise_picture(self.seed, number)) for number in range(SHOWN)]
        answered = client.predict(digits, model=MODEL).predictions
        ranked = sorted(zip(digits, answered, strict=True), key=lambda pair: pair[1].uncertainty.total)
        on_noise = list(zip(noise, client.predict(noise, model=MODEL).predictions, strict=True))
        for title, shown in (("Most certain", ranked[:SHOWN]), ("Least certain", ranked[-SHOWN:]), ("Noise", on_noise)):
            self.console.print(f"[bold]{title}")
            self.console.print(Columns([_panel(name, data, prediction) for (name, data), prediction in shown]))

    def _show_levels(self, client: Client, digits: list[Picture]) -> None:
        served = next(model for model in client.models().models if model.name == MODEL)
        for level in served.versions[0].levels:
            for picture in digits:
                client.predict([picture], model=MODEL, level=level.name)
        self._stage("Levels, from GET /models")
        served = next(model for model in client.models().models if model.name == MODEL)
        levels = served.versions[0].levels
        self.console.print(levels_table(levels, {level.name: level.latency_ms.p50 or 0.0 for level in levels}))
        self.console.print(mean_table(levels))

    def _wait(self, url: str) -> None:
        self.console.print(f"Serving {url} until Ctrl-C; try {url}/docs")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            self.console.print("Stopped.")


def _until_ready(client: Client) -> None:
    end = time.monotonic() + READY_TIMEOUT_S
    while not client.ready():
        if time.monotonic() > end:
            raise ServiceError("the service did not become ready")
        time.sleep(0.05)


def _panel(name: str, data: bytes, prediction: Prediction) -> Panel:
    uncertainty = prediction.uncertainty
    verdict = "[green]accept" if prediction.decision == "accept" else f"[red]abstain: {prediction.reason}"
    lines = [
        *(
            f"{_shown(one.label)} {'█' * round(6 * one.probability):<6} {one.probability:.3f} ± {one.std:.3f}"
            for one in prediction.probabilities[:3]
        ),
        f"aleatoric {uncertainty.aleatoric:.3f} nats",
        f"epistemic {uncertainty.epistemic:.3f} nats",
        f"{verdict}[/] {{{_shown(', '.join(prediction.prediction_set or ()))}}}",
    ]
    return Panel(Group(_drawing(data), *lines), title=name, width=26)


def _shown(label: str) -> str:
    return escape(printable(label))


def _drawing(data: bytes) -> str:
    """Draw a small picture in five shades, each pixel two characters wide, without colours."""
    pixels = np.asarray(Image.open(BytesIO(data)).convert("L")) // 52
    return "\n".join("".join(2 * SHADES[shade] for shade in row) for row in pixels.tolist())


def _noise_picture(seed: int, number: int) -> bytes:
    buffer = BytesIO()
    pixels = np.random.default_rng([seed, number]).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


demo_app = typer.Typer(add_completion=False)


@demo_app.command("demo")
def demo(
    store: Annotated[Path, typer.Option(help="Folder of the store to publish to.")] = Path("store"),
    port: Annotated[int, typer.Option(help="Port to serve on; 0 picks a free one.")] = 8000,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    leave: Annotated[bool, typer.Option("--exit", help="Exit after the predictions instead of serving on.")] = False,
) -> None:
    """Train, prune, export, publish, serve and predict: the whole pipeline on real digits, in under three minutes."""
    with reporting():
        Demo(store, port, seed).run(serve_on=not leave)
