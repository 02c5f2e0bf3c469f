"""A task: one TOML file that configures model, core, board and host."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from mgd.golden_model import rules as model_rules
from mgd.golden_model.errors import UserError
from mgd.golden_model.run_spec import RunSpec
from mgd.host.data.content import format_of
from mgd.host.data.datasets import SOURCES, check_options, prepare, source_digest
from mgd.host.data.prepared import Prepared
from mgd.host.task import rules
from mgd.host.task.asked import Asked
from mgd.host.task.errors import to_user_error
from mgd.host.task.file import Overrides, TaskFile
from mgd.host.task.names import find_task, read_task
from mgd.host.task.resolve import resolve
from mgd.protocol.core_kinds import layout_for
from mgd.protocol.fixed_settings import Fixed, fixed_settings
from mgd.protocol.layout.base import CoreLayout
from mgd.protocol.record import Samples

PREPARATION = 2
"""Of tables; a new number where the same file becomes other samples."""
ERROR_COSTS = ("mse", "l1")
"""Those that a regression may have."""


@dataclass(frozen=True)
class Task:
    """A checked task file.  Make one with Task.load; it never changes."""

    file: TaskFile
    origin: str
    """The file's path, or the built-in's name: errors start with it."""
    folder: Path
    """Relative data paths start here."""
    overrides: Overrides = field(default_factory=Overrides)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Task:
        """The built-in task of that name, or the TOML file at that path.

        Raises UserError, one line, for a name that is unknown, a file that cannot be read and
        anything in it that cannot be used.
        """
        path = find_task(name_or_path)
        return cls.parse(read_task(path), origin=str(name_or_path), folder=path.parent)

    @classmethod
    def parse(cls, text: str, origin: str, folder: Path) -> Task:
        """The task in `text`; errors name `origin`, data paths start at `folder`."""
        try:
            raw = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{origin}: no valid TOML: {error}".replace("\n", " ")) from None
        try:
            task = cls(TaskFile.model_validate(raw), origin, folder)
        except ValidationError as error:
            raise to_user_error(origin, error, TaskFile) from None
        task._check()
        return task

    def with_overrides(self, **values: object) -> Task:
        """This task with other values; None leaves a value unchanged.

        Keys: method, core, schedule, lanes, fixed, steps, target, seed, and every key of
        [training.np].  Raises UserError like load().
        """
        given = {key: value for key, value in values.items() if value is not None}
        if not given:
            return self
        before = self.overrides.model_dump(exclude_none=True)
        try:
            overrides = Overrides.model_validate({**before, **given})
        except ValidationError as error:
            raise to_user_error(f"{self.origin}, overridden", error, Overrides) from None
        task = replace(self, overrides=overrides)
        task._check()
        return task

    # -- the run ----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.file.task.name

    @cached_property
    def spec(self) -> RunSpec:
        """The run that file and overrides mean."""
        return resolve(Asked(self.file, self.overrides, self._regression))

    @cached_property
    def _regression(self) -> bool:
        data, network = self.file.data, self.file.network
        if data.source in SOURCES or not network.layers:
            return False
        cost = Asked(self.file, self.overrides).network("cost")
        if data.task is None and cost not in ERROR_COSTS:
            return False  # pandas is slow to import
        from mgd.host.data.reading import is_regression

        return is_regression(data, self.folder, cost, network.layers[-1])

    def core_layout(self) -> CoreLayout:
        """The core that trains this task; rtl.core_kinds.config_for makes its gateware of it."""
        return layout_for(self.spec)

    @property
    def fixed(self) -> Fixed:
        """Settings that are constants in a core built for this task, and their values."""
        return fixed_settings(self.spec.settings, self.spec.core.fixed)

    # -- the data ---------------------------------------------------------------------------

    def datasets(self) -> tuple[Samples, Samples]:
        """(training, test) samples.  The split is fixed by [data] seed; the training samples
        are put into the order that the training seed draws.

        Raises UserError for data that is missing, broken or does not fit the network.
        """
        return self.prepared.train, self.prepared.test

    @cached_property
    def prepared(self) -> Prepared:
        """The data sets with class names, scaling and remarks about the data."""
        return prepare(self.file.data, self.spec.network, self.folder, self.origin, self.spec.seed)

    def whole(self) -> Task:
        """This task with all training samples resident, for callers that use only a few of them."""
        return self.with_overrides(resident=0, passes=1)

    def config_digest(self) -> str:
        """Hexadecimal SHA-256 of all that decides a run's result except its seed.

        Backend and lane count are not part of it: they change no result.  Runs with equal
        digests are one experiment and may be averaged.
        """
        data = self.file.data.model_dump(exclude_none=True)
        if format_of(self.file.data.source) is not None:
            data["preparation"] = PREPARATION
        source = self.folder / self.file.data.source
        if self.file.data.source not in SOURCES:
            try:
                data["source"] = source_digest(source, self.file.data.source)
            except (OSError, UserError):
                data["source"] = source.name
        if self.file.data.test_source is not None:
            try:
                data["test_source"] = source_digest(self.folder / data["test_source"], "")
            except OSError:
                pass  # it is named, at least
        parts = {"network": asdict(self.spec.network), "data": data, **self.spec.digest_fields()}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    # -- checks -----------------------------------------------------------------------------

    def _check(self) -> None:
        try:
            check_options(self.file.data)
            model_rules.check(rules.CORE, run=self.spec, core=self.core_layout())
        except UserError as error:
            raise UserError(f"{self.origin}: {error}") from None
