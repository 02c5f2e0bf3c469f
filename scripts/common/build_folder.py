"""The folder of a build: bitstream, report.json, summary.txt, complete or absent."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mgd.boards.flow.build import REPORT_FILE, Built
from mgd.boards.flow.build_report import summary
from mgd.golden_model.errors import UserError
from mgd.host.runs.folder import check_folder

SUMMARY_FILE = "summary.txt"


def check_build_folder(out: Path) -> None:
    """Raise UserError where write_build(out) would fail later: call it before the build.

    A folder that holds a build is replaced by the next one.
    """
    if out.is_dir() and (out / REPORT_FILE).is_file():
        extra = sorted(p.name for p in out.iterdir() if not _ours(p))
        if extra:
            raise UserError(
                f"--out {out}: holds {extra[0]}, which no build wrote; move it away or choose "
                "another folder"
            )
        return
    check_folder(out)


def _ours(path: Path) -> bool:
    return path.name in (REPORT_FILE, SUMMARY_FILE) or path.stem in ("top", "nextpnr", "yosys")


def write_build(out: Path, built: Built, report: dict[str, Any]) -> None:
    """Write the folder.  Raises UserError, and leaves an older build there, if it fails."""
    check_build_folder(out)
    temporary = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        new, old = temporary / "new", temporary / "old"
        new.mkdir()
        for name in (report["bitstream"], "nextpnr.log", "yosys.log"):
            shutil.copy(built.folder / name, new / name)
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        (new / REPORT_FILE).write_text(text, encoding="utf-8")
        (new / SUMMARY_FILE).write_text(summary(report) + "\n", encoding="utf-8")
        if out.exists():
            out.rename(old)
        new.rename(out)
    except OSError as error:
        raise UserError(
            f"--out {out}: cannot write the build: {error.strerror or error}; free space there or "
            "choose another folder"
        ) from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
