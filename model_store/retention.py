"""Which versions a store may do without."""

from __future__ import annotations

from model_store.contents import Contents


def superseded(contents: Contents, keep: int, *, keep_aliased: bool = False) -> list[str]:
    """Versions that are not among the newest `keep` and that no alias means, oldest first.

    With `keep_aliased` those stay too that an alias meant once, so that one can go back to them.
    """
    kept = {*contents.versions[-keep:], *contents.aliases.values()} if keep else set(contents.aliases.values())
    if keep_aliased:
        kept |= {change.version for change in contents.changes if change.version is not None}
    return [version for version in contents.versions if version not in kept]
