"""The lock that keeps two drivers from writing to one output.

It is a POSIX record lock (`fcntl`): it ends with the process that holds it, however that ends, and a forked worker
does not inherit it. The kernel also drops it as soon as its process closes *any* descriptor of the file. Therefore the
process that holds the lock must never ask `is_held`.
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.store.permissions import unreadable

#: What the kernel says when another process holds the lock. Any other error means a file system without locks.
_HELD = (BlockingIOError, PermissionError)


class DriverLock:
    """Held from when it is made until its `with` ends, or until its process ends.

    On a file system without locks, nothing is locked: a second driver is not noticed, but its blocks have the same
    bytes.

    Args:
        path: the file `progress/lock` of an output; made, with its folder, if it does not exist.
        output: what to call the output in errors; None: the folder above `progress`.

    Raises:
        InputError: another process holds the lock, and the message names the process; or this user may not write to
            the file.
    """

    def __init__(self, path: Path, output: str | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Whoever may write to the folder may take the lock: the umask decides, as for all files of an output.
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            # A new file in its place would be another lock, and two runs could hold one each.
            raise InputError(
                "output.path", str(path), f"a lock file that you may write to ({error.strerror})",
                "have its owner run `chmod -R g+w` on the output, or choose another output.path",
            ) from error  # fmt: skip
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except _HELD as error:
            holder = os.pread(self._file, 200, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise InputError(
                "output.path", output or str(path.parent.parent),
                f"no other run on it ({holder or 'one is'} writing now)",
                "wait for it, end it, or choose another output.path",
            ) from error  # fmt: skip
        except OSError:
            return
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)

    def __enter__(self) -> DriverLock:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def is_held(path: Path | str) -> bool:
    """Whether another process holds the lock `path`; asking locks nothing.

    False if there is no such file, or on a file system without locks. The process that holds the lock must not ask.

    Raises:
        InputError: this user may not read the file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError as error:
        raise unreadable(path, error) from error
    except OSError:
        return False
    try:
        os.lockf(descriptor, os.F_TEST, 0)
    except _HELD:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
