"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from proxconnect.errors import ProxConnectError, WriteError

if sys.platform != "win32":
    import fcntl

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success fsync the file that was written there and rename it to ``path``.

    The temporary file lies in a folder of its own beside ``path``, with any other files of the writer. On any
    error that folder is removed, and ``path`` stays as it was. The next write removes the folder of a process
    that was killed. A symbolic link stays, and the file that it points to changes.

    Raises:
        WriteError: ``path`` is a folder, a device or anything else that is no regular file, its folder does
            not exist, or the system refuses to write, for example because the disk is full.
    """
    target = writable_target(path)
    try:
        with _folder_beside(target) as folder:
            temporary = folder / target.name
            temporary.touch()
            yield temporary
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.replace(target)
    except ProxConnectError:
        raise
    except Exception as error:
        refusal = _refusal_of_the_system(error)
        if refusal is None:
            raise
        raise WriteError(cannot_write(path, refusal)) from error


def writable_target(path: Path) -> Path:
    """Return the file that writing to ``path`` makes or replaces, with symbolic links followed.

    Raises:
        WriteError: ``path`` is no regular file, or its folder does not exist.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        kind = stat.S_IFREG
    except OSError as error:
        raise WriteError(cannot_write(path, error)) from error
    if kind != stat.S_IFREG:
        raise WriteError(
            f"cannot write {path}: it is {_KINDS.get(kind, 'no regular file')}; give the name of a file"
        )
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise WriteError(
            f"cannot write {path}: there is no folder {target.parent}; make it, or correct the path"
        )
    return target


def make_folder(path: Path) -> None:
    """Make the folder ``path`` and its parent, if they do not exist.

    Further parents are not made: if they do not exist, the path is probably mistyped.

    Raises:
        WriteError: a file is in the way, the folder around the parent does not exist, or the system refuses.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        path.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise WriteError(
            f"cannot make the folder {path}: there is no folder {path.parent.parent}; make it, or correct "
            "the path"
        ) from error
    except FileExistsError as error:
        raise WriteError(f"cannot make the folder {path}: {error.filename} is a file") from error
    except OSError as error:
        raise WriteError(f"cannot make the folder {path}: {error.strerror}") from error


def remove_leftovers(folder: Path, names: str = ".+") -> None:
    """Remove the temporary folders that killed writers of the files ``names`` left in ``folder``.

    ``names`` is a regular expression. A folder in which a living process writes stays.
    """
    private = re.compile(rf"\.(?:{names})\.[a-z0-9_]{{8}}")
    for path in folder.iterdir():
        if private.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            with suppress(BlockingIOError, FileNotFoundError):
                lock = _lock(path)
                if lock is not None:
                    shutil.rmtree(path, ignore_errors=True)
                    os.close(lock)


def content_of(path: Path) -> bytes:
    """Read the bytes of a file.

    Raises:
        OSError: the file cannot be read, or it is no regular file and might never end.
    """
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(kind, 'no regular file')}", str(path))
    return path.read_bytes()


def cannot_write(path: Path, error: OSError) -> str:
    """Write the message, in one line, for a file that the operating system refuses to write."""
    return f"cannot write {path}: {error.strerror or error}"


@contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    remove_leftovers(target.parent, re.escape(target.name))
    folder, lock = _locked_folder(target)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _locked_folder(target: Path) -> tuple[Path, int | None]:
    while True:
        folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        # Another process may take the new folder for a leftover before it is locked.
        with suppress(BlockingIOError, FileNotFoundError):
            lock = _lock(folder)
            if folder.is_dir():
                return folder, lock


def _lock(folder: Path) -> int | None:
    """Lock ``folder`` for the writes of this process; the system frees the lock of a process that ends.

    Returns:
        The descriptor to close at the end; None on systems without such locks, where leftovers stay.

    Raises:
        BlockingIOError: another process has the lock.
        FileNotFoundError: the folder is gone.
    """
    if sys.platform == "win32":
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _refusal_of_the_system(error: BaseException | None) -> OSError | None:
    """Find the operating system's error behind ``error``, which a library may have raised instead."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error
