"""boards.cache: made once, whole or not at all."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mgd.boards.cache import cached, digest
from mgd.golden_model.errors import UserError

WAIT_SECONDS = 60


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MGD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_digest_tells_where_a_text_ends():
    assert len({digest(parts) for parts in (["ab"], ["a", "b"], ["b", "a"], ["a", "b", ""])}) == 4
    assert digest(["a", "b"]) == digest(iter(["a", "b"]))


def test_made_once_by_the_first_of_many(empty_cache):
    made = []
    all_asked = threading.Barrier(4)

    def make(folder, final):
        assert not list(folder.iterdir())
        assert final == empty_cache / "things" / "0123456789abcdef0123"
        made.append(folder)
        (folder / "part").write_text("whole")
        return folder / "part"

    def ask(_number):
        all_asked.wait(WAIT_SECONDS)
        return cached("things", "0123456789abcdef0123456789", "things", make).read_text()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == ["whole"] * 4
    assert len(made) == 1
    assert not made[0].exists()


def test_nothing_is_kept_of_what_failed(empty_cache):
    def fail(folder, final):
        (folder / "part").write_text("half")
        final.with_suffix(".log").write_text("why")
        raise UserError("it failed")

    with pytest.raises(UserError, match="it failed"):
        cached("things", "ab", "things", fail)
    assert sorted(p.name for p in (empty_cache / "things").iterdir()) == ["ab.lock", "ab.log"]


def test_a_folder_that_cannot_be_written(empty_cache):
    empty_cache.write_text("a file in its place")
    message = "Not a directory; little things are cached there, make room"
    with pytest.raises(UserError, match=message):
        cached("things", "ab", "little things", lambda folder, final: folder)
