"""Packages that a library uses where it finds them: imported as if they were not there, they cost no memory."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import ModuleType

__all__ = ["without"]


@contextmanager
def without(*packages: str) -> Generator[None, None, None]:
    """Within the block these packages cannot be imported. What another module has imported before stays as it is."""
    before = {name: sys.modules[name] for name in packages if name in sys.modules}
    # Python's own mark for a module that is not to be looked for.
    sys.modules.update(dict.fromkeys(packages, cast("ModuleType", None)))
    try:
        yield
    finally:
        for name in packages:
            del sys.modules[name]
        sys.modules.update(before)
