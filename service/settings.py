"""Settings of the service: flags of `slimbayes serve`, else SLIMBAYES_… in the environment. Frozen and validated."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from model_store.images.formats import FORMATS, Format
from model_store.signing import PASSWORD
from model_store.storage.location import default_location
from model_store.storage.oci.auth import VARIABLES as REGISTRY_VARIABLES
from service.errors import StartupError

# Each level as it was published, in eight bits or not; or all in float32.
Precision = Literal["published", "float32"]

# Defaults that scoring and benchmarks share.
MAX_SAMPLES = 256
MAX_PIXELS = 16_777_216
MAX_LEVEL_MB = 1_024
MAX_LEVEL_GMACS = 50
DECODE_MS = 5_000
TOLERANCE = 0.03
# Google's load balancers keep idle connections for 600 s, AWS's and nginx for 60: who closes first may lose a request.
KEEP_ALIVE_S = 620
PRECISION: Precision = "published"

# Variables that the client, signing and the store's registry read.
OTHER_VARIABLES = {"SLIMBAYES_URL", "SLIMBAYES_KEY", PASSWORD, *REGISTRY_VARIABLES}
UNITS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True)
class Rate:
    """A rate limit: `images` in `seconds`."""

    images: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a rate such as `100/second`; raise ValueError for any other text."""
        found = re.fullmatch(r"([0-9]{1,9})/(second|minute|hour|day)", text)
        if found is None or int(found[1]) == 0:
            raise ValueError(f"expected images in a time such as 100/second, the time one of {', '.join(UNITS_S)}")
        return cls(int(found[1]), UNITS_S[found[2]])


def _split(given: object) -> object:
    return [part.strip() for part in given.split(",") if part.strip()] if isinstance(given, str) else given


def _path(given: object) -> object:
    return os.fspath(given) if isinstance(given, os.PathLike) else given


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if text != "*" and (parts.scheme not in ("http", "https") or text != f"{parts.scheme}://{parts.netloc}"):
        raise ValueError("expected origins such as https://app.example.org, or *")
    return text


def _host(text: str) -> str:
    if not text.strip("*.") or "*" in text.removeprefix("*.") or set(text) & set("/[]") or text.count(":") == 1:
        raise ValueError("expected host names such as slimbayes.example.org or *.example.org, without a port")
    return text.lower()


def _proxy(text: str) -> str:
    try:
        return text if text == "*" else str(ip_network(text))
    except ValueError as error:
        raise ValueError("expected addresses or networks of proxies such as 10.0.0.0/8, or *") from error


def _rate(text: str) -> str:
    Rate.parse(text)
    return text


Positive = Annotated[int, Field(ge=1)]
Tolerance = Annotated[float, Field(gt=0.0, le=1.0)]
Comma = (NoDecode, BeforeValidator(_split))
Formats = Annotated[tuple[Format, ...], Field(min_length=1), *Comma]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], *Comma]
Hosts = Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], *Comma]
Keys = Annotated[tuple[Path, ...], *Comma]
Proxies = Annotated[tuple[Annotated[str, AfterValidator(_proxy)], ...], *Comma]


class Settings(BaseSettings):
    """Configure one service. Sizes are in bytes, pixels or images; the queue counts images x draws."""

    model_config = SettingsConfigDict(env_prefix="SLIMBAYES_", frozen=True, extra="forbid")

    store: Annotated[str, BeforeValidator(_path)] = Field(
        default_factory=default_location,
        description="Folder or URL of the model store, or `zoo`, which is bundled; by default `store`, else the zoo.",
    )
    trusted_keys: Keys = Field(
        (), description="Public keys in PEM; with any, only versions signed by one of them are served."
    )
    cache: Path | None = Field(
        None, description="Folder that caches files of the store; by default in the user's cache, for a store at a URL."
    )
    cache_bytes: Positive = Field(2 * 2**30, description="Maximum size of that folder (bytes).")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    default_model: str | None = Field(
        None, description="Model for requests that name none, if the store has several models."
    )
    threads: Positive | None = Field(None, description="Compute threads; by default as many as the CPU quota allows.")
    max_samples: Positive = Field(MAX_SAMPLES, description="Maximum draws that a request may ask for.")
    max_images: Positive = Field(32, description="Maximum images per request.")
    max_pixels: Positive = Field(MAX_PIXELS, description="Maximum pixels of one decoded image.")
    max_body_bytes: Positive = Field(32 * 2**20, description="Maximum size of a request body (bytes).")
    receive_seconds: float = Field(
        60.0, gt=0.0, description="Maximum time for a request's headers, and then for its body, to arrive (s)."
    )
    keep_alive_seconds: Positive = Field(
        KEEP_ALIVE_S,
        description="Time after which an idle connection is closed (s); longer than that of the proxy or load balancer"
        " in front, which must be the one to close.",
    )
    max_queue: Positive = Field(65_536, description="Maximum queued work (images x draws).")
    max_wait_ms: Positive = Field(1_000, description="Maximum predicted latency before a request is rejected (ms).")
    overload: Literal["shed", "degrade"] = Field(
        "shed", description="Under overload: reject requests (shed), or answer with fewer draws and smaller levels."
    )
    tolerance: Tolerance = Field(
        TOLERANCE, description="Standard error of the top probability at which sampling may stop early."
    )
    precision: Precision = Field(
        PRECISION, description="Compute each level as published, in eight bits or not; or all in float32."
    )
    reload_seconds: float = Field(
        2.0, ge=0.0, description="Interval at which the store is checked for new versions and aliases (s); 0 disables."
    )
    allow_empty: bool = Field(False, description="Start even if the store has nothing that can be served yet.")
    drain_seconds: float = Field(
        0.0, ge=0.0, description="Seconds to keep serving after SIGTERM while /readyz returns 503."
    )
    memory_mb: Positive | None = Field(
        None,
        description="Memory for posterior draws (MiB), which also bounds the draws of a request; by default what the"
        " container's limit leaves after 176 MiB and the memory for requests, unlimited without one.",
    )
    request_memory_mb: Positive | None = Field(
        None,
        description="Memory for bodies, pictures and answers of requests in progress (MiB); by default a third of what"
        " the container's limit leaves after 176 MiB, 1,024 without one.",
    )
    max_level_mb: Positive = Field(
        MAX_LEVEL_MB, description="Maximum tensors that a level may declare, or need for a batch (MiB)."
    )
    max_level_gmacs: Positive = Field(
        MAX_LEVEL_GMACS,
        description="Maximum operations of a level for one draw of one image, as multiply-adds and elements (10^9).",
    )
    max_build_seconds: float = Field(
        60.0, gt=0.0, description="Maximum time to build and try out the published draws of a level (s)."
    )
    production_fallback: bool = Field(
        False, description="At start, answer with the newest good version where production cannot be served."
    )
    log_format: Literal["text", "json"] | None = Field(
        None, description="Log format; by default text on a terminal, JSON elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Minimum severity of log messages; info logs one line per request."
    )
    traces: Annotated[str, Field(pattern=r"^https?://")] | None = Field(
        None, description="URL of an OTLP/HTTP collector to send traces to; needs the tracing extra."
    )
    formats: Formats = Field(FORMATS, description="Accepted image formats; tiff is one more.")
    decode_ms: Positive = Field(DECODE_MS, description="Maximum CPU time for decoding the images of one request (ms).")
    keys_file: Path | None = Field(
        None, description="File of API keys, from `slimbayes keys new`; without it, requests need no key."
    )
    metrics_key: bool = Field(False, description="Require an API key for /metrics too.")
    feedback: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        0,
        description="Latest images whose answers are remembered for labels sent to /feedback, about 600 bytes each; 0"
        " takes no feedback.",
    )
    rate_limit: Annotated[str, AfterValidator(_rate)] | None = Field(
        None, description="Maximum images per API key, or per client address without keys, such as 100/second."
    )
    cors_origins: Origins = Field((), description="Origins whose pages may send requests from a browser; * is any.")
    trusted_hosts: Hosts = Field((), description="Host names that requests may be addressed to; by default any.")
    proxies: Proxies = Field((), description="Proxies whose X-Forwarded-For and -Proto are trusted; * is any.")
    tls_cert: Path | None = Field(None, description="Certificate chain in PEM; enables TLS together with --tls-key.")
    tls_key: Path | None = Field(None, description="Private key in PEM.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together: set both, or neither")
        if self.metrics_key and self.keys_file is None:
            raise ValueError("metrics_key requires an API key, but there are none: set keys_file too")
        return self

    @classmethod
    def read(cls, **flags: Any) -> Settings:
        """Read settings from flags, then from the environment; a flag that is None was not given.

        Raises StartupError, naming the setting, for an unknown variable or a bad value.
        """
        known = {f"SLIMBAYES_{name.upper()}" for name in cls.model_fields} | OTHER_VARIABLES
        unknown = sorted(name for name in os.environ if name.startswith("SLIMBAYES_") and name not in known)
        if unknown:
            raise StartupError(f"unknown setting {unknown[0]} in the environment: there is {', '.join(sorted(known))}")
        try:
            return cls(**{name: value for name, value in flags.items() if value is not None})
        except ValidationError as error:
            raise StartupError(_in_words(error)) from error


def _in_words(error: ValidationError) -> str:
    first = error.errors()[0]
    says = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"settings contradict each other: {says}"
    return f"setting {first['loc'][0]}: {says[0].lower()}{says[1:]}, got {first['input']!r}"
