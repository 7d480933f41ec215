"""Pipelines from real repositories, also damaged, missing and hostile ones."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fastflow_contracts.pipelines.folder.bundle import File
from fastflow_contracts.pipelines.folder.limits import DEFAULT
from fastflow_contracts.pipelines.folder.selection import Folder
from fastflow_syncer.errors import SourceDamaged, SourceFailed
from fastflow_syncer.sources.git import GitSource
from fastflow_syncer.sources.mirror import Mirror
from fastflow_syncer.sources.remote import Credentials, remote
from fastflow_syncer.sources.source import Snapshot
from tests.git_repository import Repository

MAIN = {"etl/main.py": "print(1)\n"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "origin")


@pytest.fixture
def follow(tmp_path: Path) -> Callable[..., GitSource]:
    """Return a source that follows a URL, with its own home."""

    def make(url: str, *, subdir: str = "", branch: str = "main", **bounds: float) -> GitSource:
        home = tmp_path / "home"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        mirror = Mirror(remote(url, branch), Credentials(), home, **bounds)  # type: ignore[arg-type]
        return GitSource(mirror, url, subdir=subdir, interval_s=60.0)

    return make


Follow = Callable[..., GitSource]


async def _only(source: GitSource, name: str = "etl") -> tuple[Snapshot, Folder]:
    snapshot = await source.snapshot()
    return snapshot, await source.read(snapshot, name)


async def test_a_folder_arrives_as_committed(repository: Repository, follow: Follow) -> None:
    """Bytes, names and the executable bit are those of the commit, not of any checkout."""
    files = {
        "etl/main.py": b"print('\xc3\xbc')\r\n",
        "etl/daten/\u00fcbung \u4f60.csv": b"a\r\nb\n",
        "etl/leer": b"",
        "etl/.env.example": b"X=1\n",
        "etl/.dlt/config.toml": b"[runtime]\n",
        "etl/__pycache__/main.cpython-311.pyc": b"no",
        "etl/.venv/bin/python": b"no",
        "etl/main.py~": b"no",
        "etl/blob.bin": bytes(range(256)) * 300,
        ".github/workflows/x.yml": b"no",
        "README.md": b"no",
        ".gitattributes": b"* text=auto eol=crlf\n",
    }
    (repository.path / "etl").mkdir()
    (repository.path / "etl/run.sh").write_text("#!/bin/sh\n")
    (repository.path / "etl/run.sh").chmod(0o755)
    repository.git("config", "core.autocrlf", "false")
    repository.write(files)
    (repository.path / ".git/info/attributes").write_text("* -text\n")
    commit = repository.commit("Gr\u00fc\u00dfe \U0001f600")
    snapshot, folder = await _only(follow(repository.url))
    assert set(snapshot.fingerprints) == {"etl"}
    assert snapshot.commit is not None
    assert snapshot.commit.hash == commit
    assert snapshot.commit.subject == "Gr\u00fc\u00dfe \U0001f600"
    assert snapshot.commit.authored_at is not None
    assert snapshot.commit.authored_at.isoformat() == "2026-01-02T03:04:05+00:00"
    assert folder.refusals == ()
    assert folder.files == {
        "main.py": File(files["etl/main.py"]),
        "daten/\u00fcbung \u4f60.csv": File(b"a\r\nb\n"),
        "leer": File(b""),
        ".env.example": File(b"X=1\n"),
        ".dlt/config.toml": File(b"[runtime]\n"),
        "blob.bin": File(files["etl/blob.bin"]),
        "run.sh": File(b"#!/bin/sh\n", executable=True),
    }


async def test_only_what_changed_has_another_fingerprint(repository: Repository, follow: Follow) -> None:
    """A commit to one folder leaves the fingerprints of the others alone."""
    repository.commit("one", {**MAIN, "other/main.py": "1"})
    source = follow(repository.url)
    before = (await source.snapshot()).fingerprints
    repository.commit("two", {"other/main.py": "2"})
    after = (await source.snapshot()).fingerprints
    assert before["etl"] == after["etl"]
    assert before["other"] != after["other"]


async def test_a_subfolder_can_be_the_root(repository: Repository, follow: Follow) -> None:
    """With ``PIPELINES_SUBDIR`` only what is below it counts; a missing one is an error."""
    repository.commit("one", {"deep/pipelines/etl/main.py": "1", "decoy/main.py": "2", "deep/file": "3"})
    snapshot, folder = await _only(follow(repository.url, subdir="deep/pipelines"))
    assert set(snapshot.fingerprints) == {"etl"}
    assert folder.files["main.py"].data == b"1"
    for subdir in ("nowhere", "deep/file"):
        with pytest.raises(SourceFailed, match="PIPELINES_SUBDIR"):
            await follow(repository.url, subdir=subdir).snapshot()


async def test_a_rewritten_history_is_followed(repository: Repository, follow: Follow) -> None:
    """After a force-push, and after a branch with no common commit, the newest commit counts."""
    repository.commit("one", MAIN)
    repository.commit("two", {"etl/main.py": "two"})
    source = follow(repository.url)
    await source.snapshot()
    repository.git("reset", "-q", "--hard", "HEAD~1")
    rewritten = repository.commit("rewritten", {"etl/main.py": "rewritten"})
    snapshot, folder = await _only(source)
    assert snapshot.commit is not None
    assert (snapshot.commit.hash, folder.files["main.py"].data) == (rewritten, b"rewritten")
    repository.git("checkout", "-q", "--orphan", "fresh")
    repository.git("branch", "-D", "main")
    repository.git("branch", "-m", "main")
    orphan = repository.commit("orphan", {"etl/main.py": "orphan"})
    snapshot, folder = await _only(source)
    assert snapshot.commit is not None
    assert (snapshot.commit.hash, folder.files["main.py"].data) == (orphan, b"orphan")


async def test_a_removed_branch_is_an_error_until_it_returns(repository: Repository, follow: Follow) -> None:
    """The message names the branch; nothing needs a restart when it comes back."""
    repository.commit("one", MAIN)
    source = follow(repository.url)
    await source.snapshot()
    repository.git("branch", "-m", "gone")
    with pytest.raises(SourceFailed, match="'main' does not exist") as caught:
        await source.snapshot()
    assert not isinstance(caught.value, SourceDamaged)
    repository.git("branch", "-m", "main")
    assert (await source.snapshot()).commit is not None


async def test_a_missing_repository_is_an_error(tmp_path: Path, follow: Follow) -> None:
    """The message says what to check."""
    with pytest.raises(SourceFailed, match="GIT_REPO_URL"):
        await follow((tmp_path / "nowhere").as_uri()).snapshot()


def _truncate_packs(mirror: Path) -> None:
    for pack in mirror.glob("objects/pack/*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[:20])


def _remove_objects(mirror: Path) -> None:
    shutil.rmtree(mirror / "objects")


def _remove_everything(mirror: Path) -> None:
    shutil.rmtree(mirror)


def _garble_ref(mirror: Path) -> None:
    (mirror / "refs/fastflow/followed").write_text("0" * 39 + "\n")


def _leave_lock(mirror: Path) -> None:
    (mirror / "shallow.lock").write_text("")


@pytest.mark.parametrize("damage", [_truncate_packs, _remove_objects, _remove_everything, _garble_ref, _leave_lock])
async def test_a_damaged_mirror_is_fetched_again(
    repository: Repository, follow: Follow, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """Damage is found while fetching or reading; one more request is enough."""
    repository.commit("one", MAIN)
    source = follow(repository.url)
    await source.snapshot()
    repository.commit("two", {"etl/main.py": "two"})
    (mirror,) = (tmp_path / "home").glob("mirror-*")
    damage(mirror)
    try:
        _, folder = await _only(source)
    except SourceDamaged:
        _, folder = await _only(source)
    assert folder.files["main.py"].data == b"two"


async def test_damage_between_listing_and_reading_is_noticed(
    repository: Repository, follow: Follow, tmp_path: Path
) -> None:
    """A missing blob is damage, not an empty file."""
    repository.commit("one", MAIN)
    source = follow(repository.url)
    snapshot = await source.snapshot()
    (mirror,) = (tmp_path / "home").glob("mirror-*")
    _remove_objects(mirror)
    with pytest.raises(SourceDamaged):
        await source.read(snapshot, "etl")
    with pytest.raises(SourceDamaged):
        await source.read(snapshot, "etl")


async def test_links_and_submodules_refuse_only_their_own_folder(
    repository: Repository, follow: Follow, tmp_path: Path
) -> None:
    """Their paths are named, the pipeline's metadata are still read, and other folders are complete."""
    library = Repository(tmp_path / "library")
    library.commit("one", {"code.py": "1"})
    repository.write({**MAIN, "good/main.py": "1", "etl/pipeline.json": "{}", "etl/lib/x.py": "1"})
    (repository.path / "etl/passwd").symlink_to("/etc/passwd")
    (repository.path / "linked").symlink_to("etl")
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", library.url, "etl/vendored")
    repository.commit("links")
    source = follow(repository.url)
    snapshot, bad = await _only(source)
    assert {r.path for r in bad.refusals} == {"passwd", "vendored"}
    assert "is a link" in str(bad.refusals[0])
    assert set(bad.files) == {"main.py", "pipeline.json"}
    assert snapshot.ignored == {"linked": "is a link, which is not followed; commit the folder itself."}
    good = await source.read(snapshot, "good")
    assert good == Folder({"main.py": File(b"1")})


async def test_files_beyond_the_caps_refuse_only_their_own_folder(repository: Repository, follow: Follow) -> None:
    """Caps are checked before content is read."""
    big = bytes(DEFAULT.file_bytes + 1)
    repository.write({**MAIN, "etl/data.bin": big, "good/main.py": "1", "crowd/main.py": "1"})
    repository.write({f"crowd/{n}": "" for n in range(DEFAULT.files)})
    repository.commit("big")
    source = follow(repository.url)
    snapshot, etl = await _only(source)
    assert [r.path for r in etl.refusals] == ["data.bin"]
    assert set(etl.files) == {"main.py"}
    crowd = await source.read(snapshot, "crowd")
    assert "2,000 files" in str(crowd.refusals[0])
    assert (await source.read(snapshot, "good")).refusals == ()


async def test_a_pack_beyond_the_bound_ends_the_fetch(repository: Repository, follow: Follow) -> None:
    """A repository that would fill the disk is refused with a sentence."""
    repository.commit("one", {**MAIN, "etl/noise": random.Random(1).randbytes(300_000)})
    with pytest.raises(SourceFailed, match="too large"):
        await follow(repository.url, pack_bytes_max=64 * 1024).snapshot()


async def test_a_fetch_that_hangs_is_killed(follow: Follow, tmp_path: Path) -> None:
    """Its time is bounded, and no process of the command remains."""
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen()
    url = f"http://127.0.0.1:{silent.getsockname()[1]}/r.git"
    source = follow(url, fetch_timeout_s=0.5)
    with pytest.raises(SourceFailed, match="longer than"):
        async with asyncio.timeout(10):
            await source.snapshot()
    address = f":{silent.getsockname()[1]}/".encode()
    silent.close()
    assert not list((tmp_path / "home").glob("mirror-*"))
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if address in _command_line(p)]


def _command_line(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh client is installed")
async def test_an_ssh_remote_is_reached_with_our_key(tmp_path: Path) -> None:
    """Only we can read the key. A host that does not answer is an error, and ssh never asks for a password."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"ssh://git@127.0.0.1:{closed.getsockname()[1]}/r.git"
    home = tmp_path / "home"
    home.mkdir()
    mirror = Mirror(remote(url, "main"), Credentials(ssh_key="key", ssh_known_hosts="hosts"), home)
    assert (home / "ssh_key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(SourceFailed, match="reached"):
        await mirror.fetch()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_a_mounted_repository_may_belong_to_another_user(repository: Repository, follow: Follow) -> None:
    """The settings name it, so its owner does not matter."""
    repository.commit("one", MAIN)
    for path in (repository.path, *repository.path.rglob("*")):
        os.chown(path, 12345, 12345)
    assert (await follow(repository.url).snapshot()).commit is not None


async def test_clashing_and_broken_names_are_refused(repository: Repository, follow: Follow) -> None:
    """Paths that clash on some file system, or are not UTF-8, never become a bundle."""
    repository.write({**MAIN, "etl/Data.csv": "1", "etl/data.csv": "2"})
    with open(str(repository.path / "etl").encode() + b"/caf\xe9", "w") as file:
        file.write("x")
    repository.commit("twins")
    _, folder = await _only(follow(repository.url))
    assert any("case" in str(r) for r in folder.refusals)
    assert any("UTF-8" in str(r) for r in folder.refusals)
    str(folder.refusals).encode()
