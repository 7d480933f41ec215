"""Who wrote a commit, as the list of versions shows it."""

from __future__ import annotations

import pytest

from tests.process.syncer.sources.test_git import Follow, Repository, follow, repository

__all__ = ["follow", "repository"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Ann Example", "Ann Example"), ("Zoë 你", "Zoë 你"), ("x" * 300, "x" * 100), ("a\tb", "a\\tb")],
)
async def test_the_author_is_the_name_without_the_address(
    repository: Repository, follow: Follow, name: str, shown: str
) -> None:
    (repository.path / "etl").mkdir()
    (repository.path / "etl/main.py").write_text("1")
    repository.git("add", ".")
    repository.git("commit", "-q", "-m", "one", f"--author={name} <ann@example.org>")
    snapshot = await follow(repository.url).snapshot()
    assert snapshot.commit is not None
    assert (snapshot.commit.author, snapshot.commit.subject) == (shown, "one")
