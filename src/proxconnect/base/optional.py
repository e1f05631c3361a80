"""Imports of packages that the base installation lacks; an error names one that is missing or broken."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from proxconnect.errors import MissingPackageError, ProxConnectError, first_line

# The distributions whose name differs from the name of their module.
_DISTRIBUTIONS = {"PIL": "pillow", "dask_jobqueue": "dask-jobqueue", "sklearn": "scikit-learn"}
_OWN_FRAMES = 2  # of a traceback: this module's, and the one that holds the `with`


def distribution(module: str) -> str:
    """Return the name by which pip knows a top-level module.

    >>> distribution("PIL")
    'pillow'
    """
    return _DISTRIBUTIONS.get(module, module)


@contextmanager
def needed_for(purpose: str, extra: str = "train") -> Iterator[None]:
    """Import optional packages in this context, so that a missing or a broken one is one clear line.

    Args:
        purpose: what the packages are for, as the beginning of a sentence.
        extra: the extra of this package that brings them.

    Raises:
        MissingPackageError: a package is not installed, or raises an error on import: a torchvision
            that was built for another torch does.

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
    except ProxConnectError:
        raise
    except Exception as error:
        packages = _packages_of(error)
        if not packages:  # not a broken package, but a fault of this one
            raise
        raise MissingPackageError(
            f"{purpose} needs the package {packages[0]}, which is installed and cannot be imported: "
            f"{packages[-1]} says {first_line(error)!r}; install a {packages[-1]} that fits "
            f"torch {torch.__version__}, or uninstall it if nothing needs it"
        ) from error


def _packages_of(error: BaseException) -> list[str]:
    """Return the packages that were being imported when an error was raised; the last is the one at fault."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    imported = [frame.f_globals.get("__name__", "").partition(".")[0] for frame in frames[_OWN_FRAMES:]]
    others = {*sys.stdlib_module_names, "proxconnect", "torch"}
    return [distribution(name) for name in dict.fromkeys(imported) if name not in others]
