"""Files that survive a power cut: written, synced, renamed, in this order."""

import errno
import os
import shutil
from pathlib import Path


def move(local: Path, target: Path, partial: Path) -> None:
    """Rename within one file system; across two, copy to `partial` and rename that; never half visible."""
    make_folder(target.parent)
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
    sync_path(target.parent)


def _copy(local: Path, target: Path, partial: Path) -> None:
    make_folder(partial.parent)
    try:
        _copy_files(local, partial)
        sync(partial)
        partial.rename(target)
    except OSError:
        delete(partial)
        raise


def _copy_files(local: Path, partial: Path) -> None:
    """Without the times of the originals: garbage is recognised by its age. The first error is raised."""
    if not local.is_dir():
        shutil.copyfile(local, partial)
        return
    partial.mkdir()
    for path in local.iterdir():
        _copy_files(path, partial / path.name)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, so that they survive a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_path(folder.parent)


def delete(path: Path) -> None:
    """Delete a file, or a folder with its contents; it need not exist."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return  # another process was faster


def sync(path: Path) -> None:
    """Write a file, or a folder with everything below it, to the disk."""
    for below in path.rglob("*") if path.is_dir() else ():
        sync_path(below)
    sync_path(path)


def sync_path(path: Path) -> None:
    """Write a file's content, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
