"""Files appear whole or not at all, and nothing but a regular file is ever replaced."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from proxconnect.base import files
from proxconnect.base.files import make_folder, remove_leftovers, written_whole
from proxconnect.errors import WriteError


def write(path: Path, text: str = "new") -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text)


def test_a_file_is_made_and_replaced_with_usual_permissions(tmp_path: Path) -> None:
    for text in ("first", "second"):
        write(tmp_path / "file", text)
        assert (tmp_path / "file").read_text() == text
    mask = os.umask(0o022)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_an_error_leaves_the_file_as_it_was(error: BaseException, tmp_path: Path) -> None:
    write(tmp_path / "file", "old")

    def fail() -> None:
        with written_whole(tmp_path / "file") as temporary:
            temporary.write_text("half")
            temporary.with_name("beside").touch()
            raise error

    with pytest.raises(type(error)):
        fail()
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))  # a socket's path may not be long


def make_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root may make devices")


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "folder": (lambda path: path.mkdir(), "a folder"),
    "pipe": (os.mkfifo, "a pipe"),
    "socket": (make_socket, "a socket"),
    "device": (make_device, "a device"),
}


@pytest.mark.parametrize("linked", [False, True], ids=["itself", "by a link"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_never_replaced(
    kind: str, linked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, words = KINDS[kind]
    make(tmp_path / "it")
    before = (tmp_path / "it").stat()
    path = tmp_path / "it"
    if linked:
        path = tmp_path / "link"
        path.symlink_to("it")
    with pytest.raises(WriteError, match=f"it is {words}; give the name of a file"):
        write(path)
    assert (tmp_path / "it").stat()[:3] == before[:3]  # mode, inode and device
    assert path.is_symlink() == linked


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_target_changes(exists: bool, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    if exists:
        (tmp_path / "far" / "target").write_text("old")
    (tmp_path / "link").symlink_to("far/target")
    write(tmp_path / "link")
    assert os.readlink(tmp_path / "link") == "far/target"
    assert (tmp_path / "far" / "target").read_text() == "new"


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(WriteError, match=r"cannot write .*a: Too many levels of symbolic links"):
        write(tmp_path / "a")


def test_no_folder_is_made_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"there is no folder .*mistyped; make it, or correct the path"):
        write(tmp_path / "mistyped" / "file")
    write(tmp_path / "file")
    with pytest.raises(WriteError, match=r"cannot write .*: Not a directory"):
        write(tmp_path / "file" / "file")
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_is_made_with_the_one_that_it_is_in_and_no_other(tmp_path: Path) -> None:
    make_folder(tmp_path / "runs" / "a")
    make_folder(tmp_path / "runs" / "a")
    assert (tmp_path / "runs" / "a").is_dir()
    with pytest.raises(WriteError, match=r"there is no folder .*mistyped; make it, or correct the path"):
        make_folder(tmp_path / "mistyped" / "runs" / "a")
    assert not (tmp_path / "mistyped").exists()
    write(tmp_path / "file")
    for path in (tmp_path / "file", tmp_path / "file" / "a"):
        with pytest.raises(WriteError, match="cannot make the folder"):
            make_folder(path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("hidden", [False, True], ids=["raised", "replaced by a library's error"])
def test_the_refusal_of_the_system_is_one_line(number: int, hidden: bool, tmp_path: Path) -> None:
    def refuse() -> None:
        try:
            raise OSError(number, os.strerror(number))
        except OSError:
            if hidden:
                raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos") from None
            raise

    with pytest.raises(WriteError) as caught, written_whole(tmp_path / "file"):
        refuse()
    assert str(caught.value) == f"cannot write {tmp_path / 'file'}: {os.strerror(number)}"
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> str:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(files.tempfile, "mkdtemp", refuse)
    with pytest.raises(WriteError, match=r"cannot write .*file: Read-only file system"):
        write(tmp_path / "file")


KILLED = """
import os, signal, sys
from pathlib import Path
from proxconnect.base.files import written_whole
with written_whole(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    os.kill(os.getpid(), signal.SIGKILL) if sys.argv[2] == "killed" else sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_by_the_next_write(tmp_path: Path) -> None:
    write(tmp_path / "file", "old")
    (tmp_path / ".file.others").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "file", "killed"], stdout=subprocess.DEVNULL
    )
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "file").read_text() == "old"
    assert len(os.listdir(tmp_path)) == 3
    write(tmp_path / "file")
    assert sorted(os.listdir(tmp_path)) == [".file.others", "file"]


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", KILLED, tmp_path / "file", "living"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        write(tmp_path / "file", "meanwhile")
        remove_leftovers(tmp_path)
        assert (tmp_path / "file").read_text() == "meanwhile"
        process.stdin.close()
    assert process.returncode == 0
    assert (tmp_path / "file").read_text() == "half"
    assert os.listdir(tmp_path) == ["file"]


def test_many_writers_of_one_file_each_write_it_whole(tmp_path: Path) -> None:
    texts = [str(number) * 10_000 for number in range(8)]

    def work(text: str) -> None:
        for _ in range(10):
            write(tmp_path / "file", text)

    threads = [threading.Thread(target=work, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file").read_text() in texts
    assert os.listdir(tmp_path) == ["file"]
