"""Float MGD in C++ on one core (peers_native.cpp): compiled once, called through ctypes."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from mgd.boards.cache import cache_folder
from mgd.boards.tools import CXX_REMEDY
from mgd.golden_model.errors import UserError
from mgd.golden_model.network import ACTIVATIONS, ONE
from mgd.golden_model.seeds import words
from mgd.host.runs.folder import machine
from mgd.scripts.bench.peer_programs import NotInstalledError, Peer, Problem

FLAGS = ("-O3", "-march=native", "-std=c++17", "-Wno-psabi", "-shared", "-fPIC")
LANES = 16
STREAMS = 8
"""Both as in peers_native.cpp."""


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The compiled program.  Raises NotInstalledError without a compiler, UserError where it fails.

    It is cached among the compiled simulations, under a name that depends on source, flags,
    compiler and processor.
    """
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        raise NotInstalledError(CXX_REMEDY)
    source = files("mgd.scripts.bench").joinpath("peers_native.cpp").read_text()
    compiler_version = subprocess.run(
        [compiler, "--version"], capture_output=True, text=True
    ).stdout
    parts = [source, *FLAGS, compiler, compiler_version, machine()["cpu"], os.uname().machine]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
    final = cache_folder() / "peers" / f"{digest}.so"
    if not final.exists():
        final.parent.mkdir(parents=True, exist_ok=True)
        _compile(compiler, source, final)
    return ctypes.CDLL(str(final))


def _compile(compiler: str, source: str, final: Path) -> None:
    part = final.with_suffix(f".{os.getpid()}")
    command = [compiler, *FLAGS, "-x", "c++", "-", "-o", str(part)]
    done = subprocess.run(command, input=source, capture_output=True, text=True)
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "rror" in line), "no error line")
        raise UserError(
            f"{compiler} cannot compile peers_native.cpp ({first.strip()}); it needs GCC 9 or "
            "clang 5 or later, name another compiler with CXX"
        )
    part.rename(final)


class NativePeer(Peer):
    """C++, float32, one core."""

    label = "C++ float32, one core"

    def __init__(self, problem: Problem) -> None:
        net = self._network = problem.network
        self._run = library().mgd_train
        self._x = np.ascontiguousarray(problem.x, dtype=np.float32)
        self._labels = np.ascontiguousarray(problem.train.labels, dtype=np.int32)
        self._sizes = np.array(net.layers, dtype=np.int32)
        self._packed = np.concatenate([_pack(w[0]) for w in problem.float_weights(1)])
        # No generator may start at 0.
        self._seeds = words(STREAMS, problem.seed, "signs") | np.uint64(1)
        self._settings = (
            ctypes.c_int(problem.settings.perturbs_nodes),
            ctypes.c_int(ACTIVATIONS.index(net.hidden)),
            ctypes.c_int(ACTIVATIONS.index(net.output)),
            ctypes.c_int(net.cost == "cross_entropy"),
            ctypes.c_float(net.target_low / ONE),
            ctypes.c_float(net.target_high / ONE),
            ctypes.c_float(problem.delta),
            ctypes.c_float(problem.rate),
            ctypes.c_int(len(self._labels)),
            ctypes.c_int(problem.settings.tau_p),
        )
        self._step = 0

    def train(self, steps: int) -> None:
        self._run(
            ctypes.c_int(self._network.depth),
            _pointer(self._sizes),
            *self._settings,
            _pointer(self._x),
            _pointer(self._labels),
            ctypes.c_long(self._step),
            ctypes.c_long(steps),
            _pointer(self._packed),
            _pointer(self._seeds),
        )
        self._step += steps

    def weights(self) -> list[np.ndarray]:
        found, start = [], 0
        for fan_in, nodes in zip(self._network.layers, self._network.layers[1:], strict=False):
            blocks = -(-nodes // LANES)
            end = start + blocks * (fan_in + 1) * LANES
            part = self._packed[start:end].reshape(blocks, fan_in + 1, LANES)
            rows = part.swapaxes(1, 2).reshape(blocks * LANES, fan_in + 1)
            found.append(rows[None, :nodes].astype(np.float64))
            start = end
        return found


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def _pack(weights: np.ndarray) -> np.ndarray:
    """(nodes, fan_in + 1) as the program has it: [block of nodes][row][node], flat float32."""
    nodes, rows = weights.shape
    blocks = -(-nodes // LANES)
    padded = np.zeros((blocks * LANES, rows), dtype=np.float32)
    padded[:nodes] = weights
    return padded.reshape(blocks, LANES, rows).swapaxes(1, 2).ravel()
