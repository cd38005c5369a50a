"""Which user the servers run as, and which directories that user can reach.

PostgreSQL refuses to run as root, so root lends it a user without rights. We never open a directory that is not
ours to make that work: a path that such a user cannot pass is refused (data) or copied (binaries).
"""

import os
import pwd
from pathlib import Path

from service.local.processes import Account

CANDIDATES = ("postgres", "nobody")
PASS, READ = 0o1, 0o4


def unprivileged() -> Account | None:
    """Who runs the servers when we are root; None when we are not, and run them as ourselves."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = next(known[name] for name in CANDIDATES if name in known)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def allows(status: os.stat_result, account: Account, bits: int) -> bool:
    """Whether a file's mode gives `account` all of `bits` (PASS, READ)."""
    if status.st_uid == account.uid:
        granted = status.st_mode >> 6
    elif status.st_gid == account.gid:
        granted = status.st_mode >> 3
    else:
        granted = status.st_mode
    return granted & bits == bits


def first_closed(path: Path, account: Account) -> Path | None:
    """The outermost existing directory on the way to `path`, itself included, that `account` cannot pass."""
    way = [*reversed(path.parents), path]
    return next((step for step in way if step.is_dir() and not allows(step.stat(), account, PASS)), None)
