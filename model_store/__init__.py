"""Store immutable versions of pruned models, each described by one manifest.

A store is a folder, a bucket or an OCI registry. `store`, `publishing` and `claims` alone write its layout:

    STORE/MODEL/VERSION/LEVEL/model.onnx
    STORE/MODEL/VERSION/signature.json           where the version is signed
    STORE/MODEL/VERSION/manifest.json            written last: a version exists when its manifest does
    STORE/MODEL/aliases/ALIAS/TIME.VERSION.json  one for each change of an alias; the newest counts
    STORE/MODEL/claims/VERSION.KIND.TOKEN.json   while a version is being written or removed
"""

# Not from typing, whose import would cost more than this package's.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from model_store.errors import StoreError
    from model_store.manifest import Level, Manifest, read_manifest
    from model_store.reports.card import model_card
    from model_store.signing import SigningKey, TrustedKeys
    from model_store.store import Store

__all__ = ["Level", "Manifest", "SigningKey", "Store", "StoreError", "TrustedKeys", "model_card", "read_manifest"]

if not TYPE_CHECKING:
    MODULES = {
        "Level": "manifest",
        "Manifest": "manifest",
        "SigningKey": "signing",
        "Store": "store",
        "StoreError": "errors",
        "TrustedKeys": "signing",
        "model_card": "reports.card",
        "read_manifest": "manifest",
    }

    def __getattr__(name: str) -> object:
        """Import an exported name when it is first used (PEP 562)."""
        if name not in MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return globals().setdefault(name, getattr(import_module(f"{__name__}.{MODULES[name]}"), name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
