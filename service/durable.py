"""Files that survive a power cut: written, synced, renamed, in this order."""

import errno
import os
import shutil
from pathlib import Path


def move(local: Path, target: Path, partial: Path) -> None:
    """Rename within one file system; across two, copy to `partial` and rename that. No reader sees half of it."""
    make(target.parent)
    sync(local)
    if target.is_dir():
        delete(target)  # left by a move whose row was never written
    try:
        local.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(local, target, partial)
        delete(local)
    sync_one(target.parent)


def _copy(local: Path, target: Path, partial: Path) -> None:
    make(partial.parent)
    try:
        _copy_files(local, partial)
        sync(partial)
        partial.rename(target)
    except OSError:
        delete(partial)
        raise


def _copy_files(local: Path, partial: Path) -> None:
    """As of today: the age of a file tells what was left behind. The first error is the one to tell of."""
    if not local.is_dir():
        shutil.copyfile(local, partial)
        return
    partial.mkdir()
    for path in local.iterdir():
        _copy_files(path, partial / path.name)


def make(folder: Path) -> None:
    """A folder that is there after a power cut too."""
    if folder.is_dir():
        return
    make(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_one(folder.parent)


def delete(path: Path) -> None:
    """A file or a folder with all that is in it; one that is not there is fine."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return  # somebody else was faster


def sync(path: Path) -> None:
    """What is in a file, or in a folder and below, on the disk."""
    for below in path.rglob("*") if path.is_dir() else ():
        sync_one(below)
    sync_one(path)


def sync_one(path: Path) -> None:
    """A file's content, or a folder's list of names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
