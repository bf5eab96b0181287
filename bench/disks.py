"""A disk that can be filled: for the tests of what a full one does."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["small_disk"]


@contextmanager
def small_disk(folder: Path) -> Generator[Path, None, None]:
    """A file system of a megabyte; skips the test where none may be mounted."""
    folder.mkdir()
    done = subprocess.run(  # noqa: S603 - the system's own
        ["/bin/mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["/bin/umount", "-l", str(folder)], check=True)  # noqa: S603 - as above
