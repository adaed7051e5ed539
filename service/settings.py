"""What an operator can set: flags of `slimbayes serve`, else SLIMBAYES_… in the environment. Frozen and checked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from model_store.store import default_root
from service.errors import StartError

Positive = Annotated[int, Field(ge=1)]
Tolerance = Annotated[float, Field(gt=0.0, le=1.0)]


class Settings(BaseSettings):
    """Settings of one service. Sizes are in bytes, pixels or images; the queue counts images x draws."""

    model_config = SettingsConfigDict(env_prefix="SLIMBAYES_", frozen=True, extra="forbid")

    store: Path = Field(
        default_factory=default_root, description="Folder of the store; by default `store`, else the zoo."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    default_model: str | None = Field(None, description="Model of a request that names none, where there are several.")
    threads: Positive | None = Field(None, description="Threads to compute on; by default what the CPU quota allows.")
    max_samples: Positive = Field(256, description="Most draws that a request may ask for.")
    max_images: Positive = Field(32, description="Most images in one request.")
    max_pixels: Positive = Field(16_777_216, description="Most pixels of one image that are decoded.")
    max_body_bytes: Positive = Field(32 * 2**20, description="Most bytes of one request's body.")
    max_queue: Positive = Field(65_536, description="Most work that may wait, in images x draws.")
    max_wait_ms: Positive = Field(1_000, description="Longest that an answer may take under load, in milliseconds.")
    overload: Literal["shed", "degrade"] = Field("shed", description="Under overload: refuse, or answer with less.")
    tolerance: Tolerance = Field(0.02, description="Standard error of the top probability at which an answer settles.")
    precision: Literal["published", "float32"] = Field(
        "published", description="Compute each level as it was published, in eight bits or not; or all in float32."
    )
    reload_seconds: float = Field(
        2.0, ge=0.0, description="How often the store is looked at for new versions and aliases; 0 is never."
    )
    allow_empty: bool = Field(False, description="Start though the store has nothing that can be served yet.")
    drain_seconds: float = Field(
        0.0, ge=0.0, description="After SIGTERM, how long requests are still taken while /readyz says no."
    )
    memory_mb: Positive | None = Field(None, description="Memory for networks, in MiB; by default there is no limit.")
    log_format: Literal["text", "json"] | None = Field(
        None, description="Form of what is logged; by default text on a terminal, JSON elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="What is logged; info has one line a request."
    )
    traces: Annotated[str, Field(pattern=r"^https?://")] | None = Field(
        None, description="URL of an OTLP collector over HTTP that traces go to; needs the tracing extra."
    )

    @classmethod
    def read(cls, **flags: Any) -> Settings:
        """The settings from flags (None means not given) and the environment; raise StartError for bad ones."""
        known = {f"SLIMBAYES_{name.upper()}" for name in cls.model_fields} | {"SLIMBAYES_URL"}
        unknown = sorted(name for name in os.environ if name.startswith("SLIMBAYES_") and name not in known)
        if unknown:
            raise StartError(f"unknown setting {unknown[0]} in the environment: there is {', '.join(sorted(known))}")
        try:
            return cls(**{name: value for name, value in flags.items() if value is not None})
        except ValidationError as error:
            first = error.errors()[0]
            name = "_".join(map(str, first["loc"])) or "settings"
            raise StartError(f"setting {name}: {first['msg'].lower()}, got {first['input']!r}") from error
