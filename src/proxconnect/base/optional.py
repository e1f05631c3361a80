"""Imports of packages that the base installation lacks, with an error that names a missing one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from proxconnect.errors import MissingPackageError

# The distributions whose name differs from the name of their module.
_DISTRIBUTIONS = {"PIL": "pillow", "dask_jobqueue": "dask-jobqueue", "sklearn": "scikit-learn"}


def distribution(module: str) -> str:
    """Return the name by which pip knows a top-level module.

    >>> distribution("PIL")
    'pillow'
    """
    return _DISTRIBUTIONS.get(module, module)


@contextmanager
def needed_for(purpose: str, extra: str = "train") -> Iterator[None]:
    """Import optional packages in this context, so that a missing one is one clear line.

    Args:
        purpose: what the packages are for, as the beginning of a sentence.
        extra: the extra of this package that brings them.

    Raises:
        MissingPackageError: a package is not installed.

    >>> with needed_for("Drawing a figure"):
    ...     import drawing_package
    Traceback (most recent call last):
    ...
    proxconnect.errors.MissingPackageError: Drawing a figure needs the package drawing_package, which is not
    installed; run: pip install "proxconnect[train]"
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module in ("", "proxconnect"):  # not a missing package, but a fault of this one
            raise
        raise MissingPackageError(
            f"{purpose} needs the package {distribution(module)}, which is not installed; "
            f'run: pip install "proxconnect[{extra}]"'
        ) from error
