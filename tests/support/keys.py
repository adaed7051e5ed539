"""Keys to sign with, made by openssl as the documentation says."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """Files of a private key and of its public key."""

    private: Path
    public: Path


def make_pair(folder: Path, name: str, curve: str = "P-256", *encrypted: str) -> Pair:
    """A new pair, whose private key may be encrypted by what openssl is told."""
    pair = Pair(folder / f"{name}.key", folder / f"{name}.pub")
    curve_option = ("-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}")
    _openssl("genpkey", *curve_option, *encrypted, "-out", str(pair.private))
    password = [each.replace("-pass", "-passin") for each in encrypted if each != "-aes256"]
    _openssl("pkey", "-in", str(pair.private), *password, "-pubout", "-out", str(pair.public))
    return pair


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
