import errno
import os
import stat

import pytest

from swarmsim.errors import SettingsError
from swarmsim.files import write_atomically


def test_a_file_takes_the_place_of_the_one_before(tmp_path):
    for content in (b"old", b"new"):
        write_atomically(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_all_is_said_to_be_done(tmp_path, monkeypatch):
    synced = []

    def fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append(("folder" if is_folder else "file", (tmp_path / "file").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(tmp_path / "file", b"content")
    assert synced == [("file", False), ("folder", True)]


def test_a_full_disk_is_told_in_a_sentence_and_leaves_what_was_there(tmp_path):
    write_atomically(tmp_path / "file", b"old")
    (tmp_path / "file.new").symlink_to("/dev/full")
    with pytest.raises(SettingsError, match=f"^{tmp_path / 'file'} cannot be written: No space left on device$"):
        write_atomically(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize(("number", "is_told"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_file_system_may_be_unable_to_sync_folders_but_not_fail_at_it(tmp_path, monkeypatch, number, is_told):
    fsync = os.fsync

    def failing_on_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing_on_folders)
    if is_told:
        with pytest.raises(SettingsError, match="Input/output error"):
            write_atomically(tmp_path / "file", b"content")
    else:
        write_atomically(tmp_path / "file", b"content")
