"""What a link in a folder stands for: the file or folder that it names, as long as that travels itself."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.pipelines.folder.links import FollowedLinks, follow

FILES = ("main.py", "data/a.csv", "data/deep/b.csv", "out/")


def _follow(links: Mapping[str, str], files: tuple[str, ...] = FILES) -> FollowedLinks:
    return follow(files, links, paths_max=100)


@pytest.mark.parametrize(
    ("links", "sources"),
    [
        ({"a.csv": "data/a.csv"}, {"a.csv": "data/a.csv"}),
        ({"data/here.csv": "./a.csv"}, {"data/here.csv": "data/a.csv"}),
        ({"data/main.py": "../main.py"}, {"data/main.py": "main.py"}),
        ({"now": "data"}, {"now/a.csv": "data/a.csv", "now/deep/b.csv": "data/deep/b.csv"}),
        ({"now": "data//deep/"}, {"now/b.csv": "data/deep/b.csv"}),
        ({"results": "out"}, {"results/": "out/"}),
        ({"one": "two", "two": "main.py"}, {"one": "main.py", "two": "main.py"}),
        ({"current": "data", "b": "current/deep/b.csv"}, {"b": "data/deep/b.csv"}),
        ({"x": "data/deep/../a.csv"}, {"x": "data/a.csv"}),
        ({"data/deep/up": "../../out"}, {"data/deep/up/": "out/"}),
    ],
)
def test_a_link_travels_as_what_it_names(links: dict[str, str], sources: dict[str, str]) -> None:
    """Files, folders, empty folders, chains, and ways through other links."""
    found = _follow(links)
    assert found.refusals == ()
    assert {path: found.sources[path] for path in sources} == sources


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/etc/passwd", "outside"),
        ("../neighbour/x.py", "outside"),
        ("data/../../x.py", "outside"),
        ("nowhere", "not there"),
        ("data/nowhere.csv", "not there"),
        ("main.py/", None),
        ("main.py/x", "not there"),
        ("self", "leads back"),
        (".", "leads back"),
        ("", "leads back"),
        ("x" * 3000, "not there"),
    ],
)
def test_a_link_to_anything_else_is_a_problem_that_says_why(target: str, reason: str | None) -> None:
    """Outside, dangling, or without end; the text of the link is in the message."""
    found = _follow({"self": target})
    if reason is None:
        assert found.refusals == ()
    else:
        (refusal,) = found.refusals
        assert (refusal.path, found.sources) == ("self", {})
        assert "is a link to" in str(refusal)
        assert reason in str(refusal)


def test_folders_that_link_to_each_other_have_no_end() -> None:
    """Both lead back to themselves; a third link still travels."""
    found = _follow({"a/x": "../b", "b/y": "../a", "c": "main.py"}, (*FILES, "a/f", "b/f"))
    assert {refusal.path for refusal in found.refusals} == {"a/x", "b/y"}
    assert found.sources["c"] == "main.py"


def test_many_paths_through_few_links_are_bounded() -> None:
    """Ten levels of two links each would be a thousand copies of everything."""
    links = {f"l{level}/{side}": f"../l{level + 1}" for level in range(30) for side in "ab"}
    found = follow(("l30/file",), links, paths_max=100)
    assert len(found.sources) == 101


def test_a_long_way_through_links_ends() -> None:
    """Ten thousand folders, each with a link to the next, and a path of ten thousand steps."""
    links = {f"l{level}/next": f"../l{level + 1}" for level in range(10_000)}
    found = follow(("l10000/file",), links, paths_max=2_000)
    assert any("more than 40 links" in str(refusal) for refusal in found.refusals)
    chain = {f"c{number}": f"c{number + 1}" for number in range(100)} | {"c100": "main.py"}
    assert _follow(chain).sources["c61"] == "main.py"
    assert {refusal.path for refusal in _follow(chain).refusals} == {f"c{number}" for number in range(61)}
    assert "more than" in str(_follow({"x": "data/../" * 5_000 + "main.py"}).refusals[0])


@given(
    st.dictionaries(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join),
        st.lists(st.sampled_from(["a", "b", "c", "..", "."]), min_size=1, max_size=4).map("/".join),
        max_size=6,
    )
)
def test_a_source_is_always_a_path_that_travels(links: dict[str, str]) -> None:
    """For any links; each is followed, is a problem, or names an empty place."""
    links = {path: target for path, target in links.items() if not any(path.startswith(f"{p}/") for p in links)}
    files = ("z/file", "z/empty/")
    found = follow(files, links, paths_max=50)
    assert set(found.sources.values()) <= set(files)
    assert {refusal.path for refusal in found.refusals} <= links.keys()
