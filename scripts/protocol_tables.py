"""Writes the tables of docs/protocol.md: `python -m mgd.scripts.protocol_tables`."""

from __future__ import annotations

from mgd.protocol.tables import TABLES
from mgd.scripts.common.checkout import in_checkout
from mgd.scripts.common.markers import replace_between


def main() -> None:
    page = in_checkout("docs", "protocol.md")
    for name, table in TABLES.items():
        replace_between(page, name, table())
    print(f"written: {page}")


if __name__ == "__main__":
    main()
