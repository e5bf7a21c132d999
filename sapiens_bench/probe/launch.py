"""Start the processes of a training on one machine, one a GPU (or several on a CPU), and get back what they made.

They are children as ``workers`` starts them, and find each other by the variables that ``accelerate launch`` sets. The
first that fails ends the others; its error is raised here as it was raised there.
"""

from __future__ import annotations

import importlib.util
import os
import queue
import socket
import sys
import threading
from dataclasses import asdict, replace
from typing import Any

import torch
from pydantic import TypeAdapter

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.device import check_device_name
from sapiens_bench.errors import DeviceError, UsageError, WorkerDied
from sapiens_bench.probe.processes import NEEDS_ACCELERATE
from sapiens_bench.probe.request import ProbeRequest
from sapiens_bench.probe.write import Fitted
from sapiens_bench.workers import Child, ChildDied, error_of

HERE = "127.0.0.1"
REQUESTS = TypeAdapter(ProbeRequest)


def probe_in_processes(request: ProbeRequest) -> list[Fitted]:
    """``probe`` in ``request.processes`` processes.

    Raises:
        UsageError: accelerate is not installed, or the batch cannot be divided. DeviceError: there are fewer GPUs.
        WorkerDied: a process ended without a word. Whatever ``probe`` raises.
    """
    n = request.processes
    _refuse_impossible(request)
    text = REQUESTS.dump_python(replace(request, processes=1), mode="json")
    port = _free_port()
    answers: queue.SimpleQueue[tuple[int, Any, Exception | None]] = queue.SimpleQueue()
    children: list[Child] = []

    def drive(rank: int) -> None:  # the thread that starts a child must live as long as it works
        child = Child(request.threads or max(1, (os.cpu_count() or 1) // n), shown=rank == 0)
        children.append(child)
        try:
            reply = child.ask(f"{__name__}:work", [rank, n, port, text])
            answers.put((rank, reply.value, error_of(reply) if reply.error else None))
        except ChildDied as death:
            said = death.said or f"code {death.code}"
            answers.put((rank, None, WorkerDied(f"Process {rank} of {n} ended in the middle of its work ({said}).")))
        finally:
            child.close()

    threads = [threading.Thread(target=drive, args=(rank,), daemon=True) for rank in range(n)]
    for thread in threads:
        thread.start()
    try:
        found = _collected(answers, n)
    finally:
        for child in children:
            child.kill()
    return [Fitted(**each) for each in found[0]]


def _collected(answers: queue.SimpleQueue[tuple[int, Any, Exception | None]], n: int) -> dict[int, Any]:
    """What every process made, by rank; raises the first error."""
    found: dict[int, Any] = {}
    while len(found) < n:
        try:
            rank, value, error = answers.get(timeout=1.0)  # a bound, so that Ctrl-C is seen everywhere
        except queue.Empty:
            continue
        if error is not None:
            raise error
        found[rank] = value
    return found


def _refuse_impossible(request: ProbeRequest) -> None:
    n = request.processes
    if importlib.util.find_spec("accelerate") is None:
        raise UsageError(NEEDS_ACCELERATE)
    check_device_name(request.device)
    if ":" in request.device or request.device == "mps":
        raise DeviceError(f"--gpus {n} with --device {request.device}: give cuda (or cpu for {n} processes on it).")
    gpus = torch.cuda.device_count()
    if request.device != "cpu" and gpus < n:
        raise DeviceError(f"--gpus {n}: this machine has {gpus}. (--device cpu trains in {n} processes on the CPU.)")
    if request.batch % n:
        raise UsageError(f"--batch-size {request.batch} cannot be divided among {n} processes: it is that of all.")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((HERE, 0))
        return int(found.getsockname()[1])


def work(argument: list[Any]) -> list[dict[str, Any]]:
    """One process's share; for ``workers.Child``. Answers with the heads written (by the first process)."""
    rank, n, port, text = argument
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(n),
        "LOCAL_WORLD_SIZE": str(n),
        "MASTER_ADDR": HERE,
        "MASTER_PORT": str(port),
    }
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the machine's name need not be an address
    from sapiens_bench.probe.run import probe
    from sapiens_bench.probe.watch import Lines

    request = REQUESTS.validate_python(text)
    return [asdict(each) for each in probe(request, Catalog.load(request.cards), Lines())]
