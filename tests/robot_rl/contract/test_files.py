"""Files that are replaced as a whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_rl.contract.files import write_atomically

PACKAGE = Path(__file__).resolve().parents[3] / "robot_rl"


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_and_its_folder_made(durable: bool, tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_atomically(path, b"old", durable)
    write_atomically(path, (b"n", b"ew"), durable)
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    def torn() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("killed")

    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(RuntimeError, match="killed"):
        write_atomically(path, torn())
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    seen = []

    def parts() -> Iterator[bytes]:
        yield b"new"
        seen.append(path.read_bytes())

    write_atomically(path, b"old")
    write_atomically(path, parts())
    assert seen == [b"old"] and path.read_bytes() == b"new"


def test_threads_that_write_the_same_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([number]) * 100_000 for number in range(4)]
    threads = [threading.Thread(target=write_atomically, args=(path, content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents and list(tmp_path.iterdir()) == [path]


def test_nothing_else_replaces_files() -> None:
    found = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if "os.replace" in path.read_text()}
    assert found == {"contract/files.py"}
