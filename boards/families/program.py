"""A program that makes bitstreams, and how to install it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """name: as in our messages and on PATH; package: on PyPI; script: the package's command.

    variable: the environment variable that names another executable, as in Amaranth.
    makes: "… are made", for the error where the program is missing.
    """

    name: str
    package: str
    script: str
    variable: str
    makes: str = "bitstreams are made"
