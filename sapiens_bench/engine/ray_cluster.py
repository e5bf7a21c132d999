"""A Ray cluster for the time of a run: one of this machine that ends with it, or one that runs already.

Whoever reaches the ports of a cluster without a token can run code there (Ray's documentation, "Security"), so ours
always has one: made for the run, in a file that only this user can read, never printed and never stored in the record.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import psutil

from sapiens_bench.engine.choices import Places
from sapiens_bench.engine.stopping import guarded
from sapiens_bench.engine.threads import usable_cores
from sapiens_bench.errors import UsageError
from sapiens_bench.workers import sent_to

LEAST_VERSION = (2, 52)  # the first with tokens; earlier ones have CVE-2025-62593
PREFIX = "sb-ray-"
_OBJECT_STORE_BYTES = 100 * 2**20  # nothing large goes through it
_LONGEST_FOLDER = 40  # sockets lie 65 characters below it, and their names may have 107
KNOCK_S = 10.0
_AUTH = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
NO_TOKEN = (
    "This Ray cluster asks for no token: whoever reaches its ports can run code on its machines. "
    "Start it with RAY_AUTH_MODE=token (docs/cluster.md)."
)


class Joined(NamedTuple):
    """What was found."""

    ray: ModuleType
    note: str = ""  # for the user
    raylet: psutil.Process | None = None  # the process of this machine without which nothing works; None: not known

    @property
    def has_ended(self) -> bool:
        """Whether that process is gone. Ray itself ends the driver for it, some seconds later and without a word."""
        try:
            return self.raylet is not None and self.raylet.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True


@contextmanager
def joined(address: str, cores: int | None = None) -> Iterator[Joined]:
    """This process as a driver of a cluster. Whatever happens, a private one is gone afterwards.

    Args:
        address: HEAD:6379 of a cluster that runs; "": a private one.
        cores: of a private one, None: all that this process may use. A number of workers that was asked for is given
            room to start whatever the machine has.

    A process that has joined a cluster already (``ray.init`` of a script) uses that one and stays in it.

    Raises:
        UsageError: no Ray, an old one, nobody at that address, or the token is missing.
    """
    ray = _imported()
    if ray.is_initialized():
        yield Joined(ray, raylet=_raylet(ray))
        return
    before = {name: os.environ.get(name) for name in (*_AUTH, "RAY_USAGE_STATS_ENABLED")}
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    note = ""
    try:
        with _temporary_folder() as folder, ExitStack() as stack:
            if address:
                _knock(address)
                note = _use_token_of_user()
            else:
                _make_token(folder)
            try:
                _init(ray, address, folder, cores or usable_cores())
                stack.enter_context(_quiet())
                yield Joined(ray, note, _raylet(ray))
            finally:
                with guarded():  # a second Ctrl-C must not leave its processes behind
                    ray.shutdown()
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def kept(engine: str, address: str, cores: int | None) -> Iterator[str]:
    """One cluster for several runs, each of which would start its own; a note for the user.

    Raises:
        UsageError: see ``joined``.
    """
    if engine != "ray":
        yield ""
        return
    with joined(address, cores) as found:
        yield found.note


@contextmanager
def joined_early(places: Places) -> Iterator[str]:
    """What can be refused about a cluster is refused here, before a run folder is bound to a request; a note."""
    if places.engine == "ray":
        _imported()
    with kept(places.engine if places.address else "local", places.address, None) as note:
        yield note


@contextmanager
def jobs_on(places: Places, on_note: Callable[[str], None]) -> Iterator[None]:
    """Whatever is rendered meanwhile is rendered there, one core a worker; with the local engine nothing changes."""
    if places.engine == "local":
        yield
        return
    from sapiens_bench.engine.ray_jobs import spread_jobs

    on_one_core = replace(places, threads=1, gpus_per_worker=0.0, device="cpu")
    with ExitStack() as stack, sent_to(partial(spread_jobs, on_one_core, on_note, stack)):
        yield  # the cluster is started for the first job, and kept


def cores_for(workers: int | None, threads: int | None) -> int:
    """Cores of a private cluster on which so many workers with so many threads each can start."""
    return max(usable_cores(), (workers or 1) * (threads or 1))


def _knock(address: str) -> None:
    """Is there anybody? Ray itself waits for minutes.

    Raises:
        UsageError: no, or it is no address of a head.
    """
    host, colon, port = address.rpartition(":")
    if address == "auto":
        return  # as `ray start` noted on this machine
    if not colon or not port.isdecimal() or "/" in address:
        raise UsageError(
            f"--address {address}: write HEAD:PORT, as `ray start --head` prints it, for example head:6379."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
    except OSError as error:
        raise UsageError(_why_not(address, error)) from None


def _imported() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            f"--engine ray needs the package ray ({error}): pip install 'sapiens-vision-bench[ray]'."
        ) from None
    numbers = [int(part) for part in ray.__version__.split(".")[:2] if part.isdecimal()]
    if tuple(numbers) < LEAST_VERSION:
        raise UsageError(
            f"--engine ray needs ray {'.'.join(map(str, LEAST_VERSION))} or later, for its tokens; this is "
            f"{ray.__version__}: pip install -U 'sapiens-vision-bench[ray]'."
        )
    return ray


def _init(ray: ModuleType, address: str, folder: Path, cores: int) -> None:
    """``ray.init``, whose signal handler is taken away again, and from a folder of our own.

    Ray puts the driver's working folder in front of the import path of every worker: a ``socket.py`` that lies there
    would run. Workers change into the real one once they have started.
    """
    forget_token()
    handler = signal.getsignal(signal.SIGTERM)
    where = Path.cwd()
    common = {"log_to_driver": False, "configure_logging": False, "logging_level": logging.ERROR}
    logging.getLogger("ray").setLevel(logging.ERROR)
    os.chdir(folder)
    try:
        with guarded():
            if address:
                ray.init(address=address, **common)
            else:
                ray.init(
                    address="local", include_dashboard=False, num_cpus=cores, _temp_dir=str(folder),
                    object_store_memory=_OBJECT_STORE_BYTES, **common,
                )  # fmt: skip
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError, ray.exceptions.RayError) as error:
        raise UsageError(_why_not(address, error)) from None
    finally:
        os.chdir(where)
        with suppress(ValueError):  # not the main thread, where Ray installs none either
            signal.signal(signal.SIGTERM, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """What nodes report of dead workers goes to the log of this process.

    Ray prints it on stdout, in the middle of a table or a JSON document, and has no setting for that.
    """
    from ray._private import worker

    before = getattr(worker, "print_to_stdstream", None)
    told = logging.getLogger("sapiens_bench.ray")

    def keep(data: dict[str, Any], ignore_prefix: bool = False) -> None:
        told.debug(" ".join(data["lines"]))

    if before is not None:
        worker.print_to_stdstream = keep
    try:
        yield
    finally:
        if before is not None:
            worker.print_to_stdstream = before


def _raylet(ray: ModuleType) -> psutil.Process | None:
    """The one that this driver talks to, where it can be told."""
    address = ray.get_runtime_context().gcs_address
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == "raylet" and any(address in word for word in process.cmdline()):
                found.append(process)
    return found[0] if len(found) == 1 else None


def _why_not(address: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    if not address:
        return f"Ray cannot be started on this machine: {reason}"
    if "ersion mismatch" in reason:
        return f"The cluster at {address} runs another Python or Ray: {reason}"
    return (
        f"No Ray cluster can be joined at {address}: {reason}. Run this on a machine of the cluster, give the address "
        "that `ray start --head` printed, and have its token in ~/.ray/auth_token or RAY_AUTH_TOKEN_PATH "
        "(docs/cluster.md)."
    )


def _make_token(folder: Path) -> None:
    """A token for this run alone."""
    path = folder / "token"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN_PATH"] = "token", str(path)
    os.environ.pop("RAY_AUTH_TOKEN", None)


def _use_token_of_user() -> str:
    """Have Ray use the token where there is one: it does not by itself where an address is given."""
    if "RAY_AUTH_MODE" in os.environ:
        return "" if os.environ["RAY_AUTH_MODE"] == "token" else NO_TOKEN
    kept = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if not os.environ.get("RAY_AUTH_TOKEN") and not kept.is_file():
        return NO_TOKEN
    os.environ["RAY_AUTH_MODE"] = "token"
    return ""


def forget_token() -> None:
    """Ray keeps the token that it read first for the life of the process, and one run may follow another."""
    with suppress(ImportError, AttributeError):
        from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder that only this user can read, with a short name; those that killed runs left behind are removed."""
    base = Path(tempfile.gettempdir())
    if len(str(base)) > _LONGEST_FOLDER and Path("/tmp").is_dir():
        base = Path("/tmp")
    for old in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if old.stat().st_uid == os.getuid() and _has_ended(old.name):
                shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _has_ended(name: str) -> bool:
    process = name.removeprefix(PREFIX).partition("-")[0]
    if not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
