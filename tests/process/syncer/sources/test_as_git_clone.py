"""A repository that ``git clone`` takes is live: old imports, SHA-256, Git LFS. The oracle is ``git clone`` itself."""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fastflow_contracts.pipelines.folder.bundle import File
from fastflow_contracts.pipelines.folder.examine import examine
from fastflow_contracts.pipelines.folder.limits import FolderLimits
from fastflow_contracts.pipelines.folder.selection import Folder
from fastflow_syncer.sources import mirror as mirrors
from fastflow_syncer.sources.git import GitSource
from fastflow_syncer.sources.mirror import Mirror
from fastflow_syncer.sources.remote import Credentials, remote, text_file
from tests.git_repository import Repository

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"


def _source(path: Path, home: Path, limits: FolderLimits = FolderLimits()) -> GitSource:  # noqa: B008
    home.mkdir()
    mirror = Mirror(remote(path.as_uri(), "main"), Credentials(), home)
    return GitSource(mirror, "origin", subdir="", interval_s=0, limits=limits)


async def _read(source: GitSource, name: str = "a") -> Folder:
    return await source.read(await source.snapshot(), name)


def _clone(path: Path, to: Path) -> Path:
    subprocess.run(["git", "clone", "-q", "--no-local", path.as_uri(), str(to)], check=True)
    return to


def _put(repository: Repository, commit: bytes) -> None:
    """Make *commit*, of any bytes, the head of the branch."""
    argv = ["git", "hash-object", "-t", "commit", "--literally", "-w", "--stdin"]
    done = subprocess.run(argv, cwd=repository.path, input=commit, capture_output=True, check=True)
    repository.git("update-ref", "refs/heads/main", done.stdout.decode().strip())


def _tree(repository: Repository, entries: bytes) -> str:
    argv = ["git", "hash-object", "-t", "tree", "--literally", "-w", "--stdin"]
    done = subprocess.run(argv, cwd=repository.path, input=entries, capture_output=True, check=True)
    return done.stdout.decode().strip()


def _wrong_time_zone(repository: Repository) -> None:
    who = "A <a@example.org> 1316000000 +051800"
    tree = repository.git("rev-parse", "HEAD^{tree}")
    _put(repository, f"tree {tree}\nauthor {who}\ncommitter {who}\n\nold\n".encode())


def _nul_in_the_message(repository: Repository) -> None:
    who = "A <a@example.org> 1316000000 +0000"
    tree = repository.git("rev-parse", "HEAD^{tree}")
    _put(repository, f"tree {tree}\nauthor {who}\ncommitter {who}\n\nfrom svn\0tail\n".encode())


def _no_author_mail(repository: Repository) -> None:
    tree = repository.git("rev-parse", "HEAD^{tree}")
    _put(repository, f"tree {tree}\nauthor A 1316000000 +0000\ncommitter A <> 0 +0000\n\nold\n".encode())


def _long_attributes(repository: Repository) -> None:
    repository.commit("long", {".gitattributes": "*.csv " + " ".join(f"a{n}=b" for n in range(500)) + "\n"})


def _padded_modes(repository: Repository) -> None:
    blob = binascii.unhexlify(repository.git("rev-parse", "HEAD:a/main.py"))
    inner = _tree(repository, b"100644 main.py\0" + blob)
    outer = _tree(repository, b"040000 a\0" + binascii.unhexlify(inner))
    repository.git("update-ref", "refs/heads/main", repository.git("commit-tree", outer, "-m", "old import"))


def _group_writable(repository: Repository) -> None:
    blob = binascii.unhexlify(repository.git("rev-parse", "HEAD:a/main.py"))
    inner = _tree(repository, b"100664 main.py\0" + blob)
    outer = _tree(repository, b"40000 a\0" + binascii.unhexlify(inner))
    repository.git("update-ref", "refs/heads/main", repository.git("commit-tree", outer, "-m", "old import"))


@pytest.mark.parametrize(
    "spoil",
    [_wrong_time_zone, _nul_in_the_message, _no_author_mail, _long_attributes, _padded_modes, _group_writable],
)
async def test_old_histories_that_a_clone_takes_are_live(tmp_path: Path, spoil: Callable[[Repository], None]) -> None:
    """A strict check refuses each of them, and a history of ten years ago cannot be rewritten."""
    repository = Repository(tmp_path / "origin")
    repository.commit("one", {"a/main.py": "print(1)\n"})
    spoil(repository)
    strict = ["git", "-c", "fetch.fsckObjects=true", "clone", "-q", "--no-local", repository.url, str(tmp_path / "no")]
    assert subprocess.run(strict, check=False, capture_output=True).returncode != 0 or spoil is _group_writable
    clone = _clone(repository.path, tmp_path / "clone")
    folder = await _read(_source(repository.path, tmp_path / "home"))
    assert folder == Folder({"main.py": File((clone / "a/main.py").read_bytes())})


@pytest.mark.parametrize("name", ["..", ".git", "a\\b", "."])
async def test_a_tree_that_no_clone_takes_harms_nothing(tmp_path: Path, name: str) -> None:
    """Paths that lead elsewhere or into the repository itself are refused, or stay behind."""
    repository = Repository(tmp_path / "origin")
    repository.commit("one", {"a/main.py": "print(1)\n"})
    blob = binascii.unhexlify(repository.git("rev-parse", "HEAD:a/main.py"))
    evil = _tree(repository, b"100644 config\0" + blob)
    inner = _tree(repository, b"40000 " + name.encode() + b"\0" + binascii.unhexlify(evil) + b"100644 main.py\0" + blob)
    outer = _tree(repository, b"40000 a\0" + binascii.unhexlify(inner))
    repository.git("update-ref", "refs/heads/main", repository.git("commit-tree", outer, "-m", "evil"))
    folder = await _read(_source(repository.path, tmp_path / "home"))
    assert set(folder.files) == {"main.py"}
    assert bool(folder.refusals) == (name != ".git")


async def test_a_script_beside_the_folders_is_told(tmp_path: Path) -> None:
    """It is no pipeline; the folders are. A link in a pipeline may be its script."""
    repository = Repository(tmp_path / "origin")
    repository.write({"main.py": "print(0)\n", "a/src/run.py": "print(1)\n"})
    (repository.path / "a/main.py").symlink_to("src/run.py")
    repository.commit("one")
    source = _source(repository.path, tmp_path / "home")
    snapshot = await source.snapshot()
    assert set(snapshot.fingerprints) == {"a"}
    assert "not in its own folder" in snapshot.ignored["main.py"]
    assert (await source.read(snapshot, "a")).files["main.py"] == File(b"print(1)\n")


async def test_a_repository_of_sha256_objects_is_live(tmp_path: Path) -> None:
    """From the start; and one that was made again in the other format is followed, there and back."""
    path = tmp_path / "origin"
    source = None
    for number, object_format in enumerate(["sha256", "sha1", "sha256"]):
        shutil.rmtree(path, ignore_errors=True)
        subprocess.run(["git", "init", "-q", "-b", "main", f"--object-format={object_format}", str(path)], check=True)
        (path / "a").mkdir()
        (path / "a/main.py").write_text(f"print({number})\n")
        for args in (("add", "-A"), ("-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "one")):
            subprocess.run(["git", *args], cwd=path, check=True)
        source = source or _source(path, tmp_path / "home")
        snapshot = await source.snapshot()
        assert snapshot.commit is not None
        assert len(snapshot.commit.hash) == (64 if object_format == "sha256" else 40)
        assert (await source.read(snapshot, "a")).files == {"main.py": File(f"print({number})\n".encode())}


@pytest.fixture
def with_lfs(tmp_path: Path) -> Repository:
    """``a/data.csv`` is in LFS; ``a/lost.bin`` says so, but the server does not have it."""
    repository = Repository(tmp_path / "origin")
    repository.git("lfs", "install", "--local")
    repository.commit(
        "one", {".gitattributes": "*.csv filter=lfs -text\n", "a/main.py": "", "a/data.csv": "1,2\n" * 99}
    )
    assert repository.git("show", "HEAD:a/data.csv").startswith("version https://git-lfs")
    return repository


@pytest.mark.git_lfs
async def test_files_of_git_lfs_are_fetched(tmp_path: Path, with_lfs: Repository) -> None:
    """Through ``git lfs``, from the repository's own server, as a clone gets them."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--no-checkout", with_lfs.url, str(clone)], check=True)
    for args in (("lfs", "install", "--local"), ("checkout", "-q", "main")):
        subprocess.run(["git", *args], cwd=clone, check=True)
    folder = await _read(_source(with_lfs.path, tmp_path / "home"))
    assert folder.refusals == ()
    assert folder.files["data.csv"].data == (clone / "a/data.csv").read_bytes() == b"1,2\n" * 99


@pytest.mark.git_lfs
async def test_a_file_that_lfs_does_not_have_is_a_problem(tmp_path: Path, with_lfs: Repository) -> None:
    """The last good version stays live, and the file and git's words are named."""
    with_lfs.git("lfs", "uninstall", "--local")
    with_lfs.commit("two", {"a/lost.bin": POINTER.format("0" * 64, 5)})
    folder = await _read(_source(with_lfs.path, tmp_path / "home"))
    (refusal,) = folder.refusals
    assert refusal.path == "lost.bin"
    assert "Git LFS" in str(refusal)


@pytest.mark.git_lfs
async def test_a_large_file_of_lfs_counts_with_its_own_size(tmp_path: Path, with_lfs: Repository) -> None:
    """The limits are checked before anything is fetched."""
    folder = await _read(_source(with_lfs.path, tmp_path / "home", FolderLimits(file_bytes=300)))
    assert "data.csv" in str(folder.refusals[0])
    assert not list((tmp_path / "home").rglob("lfs/objects/*"))


@pytest.mark.git_lfs
async def test_the_files_of_lfs_that_are_kept_are_bounded(
    tmp_path: Path, with_lfs: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound they are fetched again."""
    monkeypatch.setattr(mirrors, "LFS_BYTES_MAX", 100)
    source = _source(with_lfs.path, tmp_path / "home")
    for _ in range(2):
        assert (await _read(source)).files["data.csv"].data == b"1,2\n" * 99
        assert not list((tmp_path / "home").rglob("lfs/objects"))


async def test_without_git_lfs_pointers_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One notice names the files; where a run cannot start, it is a problem. The same holds for a mounted folder."""
    only_git = tmp_path / "bin"
    only_git.mkdir()
    for command in ("git", "sh"):
        (only_git / command).symlink_to(shutil.which(command) or "")
    pointer = POINTER.format(hashlib.sha256(b"").hexdigest(), 123456)
    repository = Repository(tmp_path / "origin")
    repository.commit("one", {"a/main.py": "print(1)\n", "a/data.csv": pointer, "b/main.py": pointer, "c/main.py": ""})
    repository.commit(
        "two", {"c/requirements.txt": pointer.replace("\n", "\r\n"), "d/main.py": "", "d/d.json": pointer}
    )
    monkeypatch.setenv("PATH", str(only_git))
    monkeypatch.setenv("GIT_EXEC_PATH", os.fspath(tmp_path / "none"))
    source = _source(repository.path, tmp_path / "home")
    monkeypatch.delenv("GIT_EXEC_PATH")
    snapshot = await source.snapshot()
    found = {}
    for name in "abcd":
        folder = await source.read(snapshot, name)
        assert folder == await asyncio.to_thread(_on_disk, repository.path / name)
        examined = examine(name, folder, is_known=False)
        assert examined is not None
        found[name] = examined.found
    assert found["a"].version is not None
    assert "data.csv" in str(found["a"].notices[0])
    assert "git-lfs" in str(found["a"].notices[0])
    for name, file in (("b", "main.py"), ("c", "requirements.txt"), ("d", "d.json")):
        assert found[name].version is None
        (problem,) = found[name].problems
        assert problem.file == file
        assert "git-lfs" in str(problem)


def _on_disk(path: Path) -> Folder:
    return Folder({file.name: File(file.read_bytes()) for file in path.iterdir()})


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen is installed")
@pytest.mark.parametrize(
    "pasted",
    [
        lambda key: key,
        lambda key: key.replace("\n", "\r\n"),
        lambda key: "\ufeff" + key.replace("\n", "\r\n").rstrip(),
        lambda key: "\n\n  " + key + "\n\n",
        lambda key: key.strip().replace("\n", "\\n"),
        lambda key: key.replace("\n", " "),
    ],
)
def test_a_private_key_works_however_it_was_pasted(tmp_path: Path, pasted: Callable[[str], str]) -> None:
    """With CRLF, a BOM, spaces around it, or its lines joined with ``\\n`` or, as folded YAML does, with spaces."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    written = tmp_path / "written"
    written.write_text(text_file(pasted((tmp_path / "key").read_text())))
    written.chmod(0o600)
    done = subprocess.run(["ssh-keygen", "-y", "-f", str(written)], check=True, capture_output=True, text=True)
    assert done.stdout.split()[:2] == (tmp_path / "key.pub").read_text().split()[:2]
