"""What an operator can set: flags of `slimbayes serve`, else SLIMBAYES_… in the environment. Frozen and checked."""

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

from model_store.signing import PASSWORD
from model_store.storage.location import default_location
from model_store.storage.oci.auth import VARIABLES as REGISTRY_VARIABLES
from service.errors import StartupError

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True)
class Rate:
    """So many images in so many seconds."""

    images: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The rate that a text such as `100/second` means; raise ValueError for one that means none."""
        found = re.fullmatch(r"([0-9]{1,9})/(second|minute|hour|day)", text)
        if found is None or int(found[1]) == 0:
            raise ValueError(f"expected images in a time such as 100/second, the time one of {', '.join(SECONDS)}")
        return cls(int(found[1]), SECONDS[found[2]])


# Variables that belong to the client, to who signs, and to the store's registry.
OTHER_VARIABLES = {"SLIMBAYES_URL", "SLIMBAYES_KEY", PASSWORD, *REGISTRY_VARIABLES}


def _split(given: object) -> object:
    """What stands between the commas of a text."""
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
        raise ValueError("expected names of hosts such as slimbayes.example.org or *.example.org, without a port")
    return text.lower()


def _proxy(text: str) -> str:
    try:
        return text if text == "*" else str(ip_network(text))
    except ValueError as error:
        raise ValueError("expected addresses or networks of proxies such as 10.0.0.0/8, or *") from error


def _rate(text: str) -> str:
    Rate.parse(text)
    return text


Format = Literal["png", "jpeg", "webp", "bmp", "gif", "tiff"]
# Each level as it was published, in eight bits or not; or all in float32.
Precision = Literal["published", "float32"]
Positive = Annotated[int, Field(ge=1)]
Tolerance = Annotated[float, Field(gt=0.0, le=1.0)]
Comma = (NoDecode, BeforeValidator(_split))
Formats = Annotated[tuple[Format, ...], Field(min_length=1), *Comma]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], *Comma]
Hosts = Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], *Comma]
Keys = Annotated[tuple[Path, ...], *Comma]
Proxies = Annotated[tuple[Annotated[str, AfterValidator(_proxy)], ...], *Comma]


class Settings(BaseSettings):
    """Settings of one service. Sizes are in bytes, pixels or images; the queue counts images x draws."""

    model_config = SettingsConfigDict(env_prefix="SLIMBAYES_", frozen=True, extra="forbid")

    store: Annotated[str, BeforeValidator(_path)] = Field(
        default_factory=default_location,
        description="Folder or URL of the store, or `zoo`, which is shipped; by default `store` if there, else `zoo`.",
    )
    trusted_keys: Keys = Field(
        (), description="Public keys in PEM; with any, only versions that one of them signed are served."
    )
    cache: Path | None = Field(
        None, description="Folder for files of the store; by default in the user's cache, for a store by URL."
    )
    cache_bytes: Positive = Field(2 * 2**30, description="Most bytes in that folder.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    default_model: str | None = Field(None, description="Model of a request that names none, where there are several.")
    threads: Positive | None = Field(None, description="Threads to compute on; by default what the CPU quota allows.")
    max_samples: Positive = Field(256, description="Most draws that a request may ask for.")
    max_images: Positive = Field(32, description="Most images in one request.")
    max_pixels: Positive = Field(16_777_216, description="Most pixels of one image that are decoded.")
    max_body_bytes: Positive = Field(32 * 2**20, description="Most bytes of one request's body.")
    receive_seconds: float = Field(
        60.0, gt=0.0, description="Longest that a request's headers, and then its body, may take to arrive."
    )
    max_queue: Positive = Field(65_536, description="Most work that may wait, in images x draws.")
    max_wait_ms: Positive = Field(1_000, description="Longest that an answer may take under load, in milliseconds.")
    overload: Literal["shed", "degrade"] = Field("shed", description="Under overload: refuse, or answer with less.")
    tolerance: Tolerance = Field(0.02, description="Standard error of the top probability at which an answer settles.")
    precision: Precision = Field(
        "published", description="Compute each level as it was published, in eight bits or not; or all in float32."
    )
    reload_seconds: float = Field(
        2.0, ge=0.0, description="How often the store is looked at for new versions and aliases; 0 is never."
    )
    allow_empty: bool = Field(False, description="Start though the store has nothing that can be served yet.")
    drain_seconds: float = Field(
        0.0, ge=0.0, description="After SIGTERM, how long requests are still taken while /readyz says no."
    )
    memory_mb: Positive | None = Field(
        None,
        description="Memory for networks, in MiB, and so for the draws of a request; by default what the container's"
        " limit leaves beside 288 MiB, without one no limit.",
    )
    max_level_mb: Positive = Field(
        1_024, description="Most MiB of tensors that a level may declare, or need for a batch; others are refused."
    )
    log_format: Literal["text", "json"] | None = Field(
        None, description="Form of what is logged; by default text on a terminal, JSON elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="What is logged; info has one line a request."
    )
    traces: Annotated[str, Field(pattern=r"^https?://")] | None = Field(
        None, description="URL of an OTLP collector over HTTP that traces go to; needs the tracing extra."
    )
    formats: Formats = Field(
        ("png", "jpeg", "webp", "bmp", "gif"), description="Formats of pictures that are read; tiff is one more."
    )
    decode_ms: Positive = Field(
        5_000, description="Most processor time for decoding the pictures of one request, in milliseconds."
    )
    keys_file: Path | None = Field(
        None, description="File of API keys, from `slimbayes keys new`; without one anybody may ask."
    )
    metrics_key: bool = Field(False, description="Whether /metrics asks for a key too.")
    rate_limit: Annotated[str, AfterValidator(_rate)] | None = Field(
        None, description="Most images of one key, or of one address without keys, such as 100/second."
    )
    cors_origins: Origins = Field((), description="Origins whose pages may ask from a browser; * is any.")
    trusted_hosts: Hosts = Field((), description="Names that this service goes by; by default any.")
    proxies: Proxies = Field((), description="Proxies whose X-Forwarded-For and -Proto are believed; * is any.")
    tls_cert: Path | None = Field(None, description="Certificate chain in PEM; with --tls-key the service speaks TLS.")
    tls_key: Path | None = Field(None, description="Private key in PEM.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together: set both, or neither")
        if self.metrics_key and self.keys_file is None:
            raise ValueError("metrics_key asks for a key, but there are none: set keys_file too")
        return self

    @classmethod
    def read(cls, **flags: Any) -> Settings:
        """The settings from flags (None means not given) and the environment; raise StartError for bad ones."""
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
