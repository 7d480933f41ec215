"""The contract on folders that go into a sandbox before the script starts, and out of it after its end."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from fastflow_runner.sandbox import Channel
from fastflow_runner.sandbox.events import Exited, Vanished
from fastflow_runner.sandbox.fetching import fetched
from fastflow_runner.sandbox.folders import (
    CarriedFolder,
    ContentMismatch,
    Contents,
    FileLost,
    FolderBounds,
    FolderFile,
    SandboxGone,
)
from fastflow_runner.sandbox.session import Session
from tests.sandbox_contract.place import NOTHING, Place, Transcript, a_job, listen, script

BACK = CarriedFolder(env="OUT", name="out", back=FolderBounds(files_max=100, bytes_max=10_000_000))
OUT = "import os, socket, sys, time\nout = os.environ['OUT']; os.chdir(out)\n"
MIB = 1024 * 1024


class FoldersContract:
    """Tests of any backend. A subclass provides the fixture ``place`` and the method ``kill``."""

    async def kill(self, place: Place, channel: Channel) -> None:
        """Kill the supervisor from outside."""
        raise NotImplementedError

    async def test_what_the_script_leaves_in_a_folder_goes_back(self, place: Place) -> None:
        """Files with their paths, bytes, x and time; empty ones too; empty folders do not travel."""
        source = """
        os.makedirs('a/b'); os.mkdir('empty')
        open('a/b/data.bin', 'wb').write(bytes(range(256)) * 4096)
        open('none', 'w').close()
        open('müller 1.csv', 'w').write('x'); os.utime('müller 1.csv', ns=(5, 1_700_000_000_123_456_789))
        open('run.sh', 'w').write('#'); os.chmod('run.sh', 0o755)
        """
        session, channel, exited = await ended(place, source)
        left = exited.folders["out"]
        assert [(file.path, file.size_bytes, file.is_executable) for file in left.files] == [
            ("a/b/data.bin", MIB, False),
            ("müller 1.csv", 1, False),
            ("none", 0, False),
            ("run.sh", 1, True),
        ]
        assert left.files[1].modified_ns == 1_700_000_000_123_456_789
        assert (left.problems, left.is_missing) == ((), False)
        assert await read(session, exited, 0) == bytes(range(256)) * 4096
        assert [await read(session, exited, number) for number in (1, 2, 3)] == [b"x", b"", b"#"]
        await channel.close()

    @pytest.mark.parametrize(
        ("source", "problem"),
        [
            ("os.symlink('/etc/passwd', 'bad')", "'bad' is a link; only regular files are kept."),
            ("os.symlink('nowhere', 'bad')", "'bad' is a link; only regular files are kept."),
            ("os.symlink('good', 'bad')", "'bad' is a link; only regular files are kept."),
            ("os.symlink('/etc', 'bad')", "'bad' is a link; only regular files are kept."),
            ("os.symlink('.', 'bad')", "'bad' is a link; only regular files are kept."),
            ("os.mkfifo('bad')", "'bad' is a named pipe; only regular files are kept."),
            ("socket.socket(socket.AF_UNIX).bind('bad')", "'bad' is a socket; only regular files are kept."),
            ("open(b'b\\xffd', 'w').close()", "'b\\udcffd' has a name that is not UTF-8."),
            ("open('b\\nd', 'w').close()", "'b\\nd' has a control character in its name."),
            ("open('b\\x7fd', 'w').close()", "'b\\x7fd' has a control character in its name."),
            ("os.mkdir('b\\rd'); open('b\\rd/x', 'w').close()", "'b\\rd' has a control character in its name."),
            (
                "open('bad', 'w').truncate(2**40)",
                "'bad' (1,099,511,627,776 bytes) does not fit any more: all files together may have 10,000,000 bytes.",
            ),
            (
                "for _ in range(32): os.mkdir('d'); os.chdir('d')",
                repr("/".join(["d"] * 32)) + " lies deeper than 32 folders.",
            ),
        ],
    )
    async def test_what_cannot_be_kept_is_named_and_the_rest_goes_back(
        self, place: Place, source: str, problem: str
    ) -> None:
        """Links, pipes, sockets, hostile names, holes of a terabyte: nothing of them is read, and nothing waits."""
        session, channel, exited = await ended(place, f"open('good', 'w').write('kept')\n{source}")
        left = exited.folders["out"]
        assert left.problems == (problem,)
        assert left.problems_total == 1
        assert [file.path for file in left.files] == ["good"]
        assert await read(session, exited, 0) == b"kept"
        assert exited.exit_code == 0
        await channel.close()

    async def test_names_that_differ_in_case_and_hard_links_are_files(self, place: Place) -> None:
        """Both go back; a file with a name outside is a file; a hole within the bounds is zeros."""
        source = """
        open('A', 'w').write('1'); open('a', 'w').write('2')
        open('../outside', 'w').write('3'); os.link('../outside', 'b')
        open('c', 'w').truncate(5)
        """
        session, channel, exited = await ended(place, source)
        assert [file.path for file in exited.folders["out"].files] == ["A", "a", "b", "c"]
        assert [await read(session, exited, number) for number in range(4)] == [b"1", b"2", b"3", bytes(5)]
        await channel.close()

    async def test_names_that_other_systems_refuse_are_kept(self, place: Place) -> None:
        """Colons, quotes, stars, other alphabets, spaces at the end."""
        names = sorted(
            ['a:b "c" <d>|*?.txt', "第1组可用账号表.txt", "x\u202fAM.png", "end ", ".hidden", "-rf", "back\\slash"]
        )
        session, channel, exited = await ended(place, f"for name in {names!r}: open(name, 'w').write(name)")
        assert [file.path for file in exited.folders["out"].files] == names
        assert [await read(session, exited, number) for number in range(len(names))] == [
            each.encode() for each in names
        ]
        await channel.close()

    @pytest.mark.parametrize(
        "replacement", ["os.symlink('/etc', out)", "open(out, 'w').close()", "os.mkfifo(out)", "os.symlink('.', out)"]
    )
    async def test_a_folder_that_was_replaced_is_not_read(self, place: Place, replacement: str) -> None:
        """What the script put in its place is not the folder it got."""
        _, channel, exited = await ended(place, f"os.chdir('/'); os.rmdir(out); {replacement}")
        left = exited.folders["out"]
        assert (left.files, left.problems_total, left.is_missing) == ((), 1, False)
        assert "was replaced" in left.problems[0]
        await channel.close()

    @pytest.mark.parametrize("what", ["out", "os.path.dirname(out)"])
    async def test_a_folder_that_was_removed_is_missing(self, place: Place, what: str) -> None:
        """That alone is no problem here."""
        _, channel, exited = await ended(place, f"import shutil; os.chdir('/'); shutil.rmtree({what})")
        left = exited.folders["out"]
        assert (left.files, left.problems, left.is_missing) == ((), (), True)
        await channel.close()

    async def test_a_bound_on_files_keeps_what_fits(self, place: Place) -> None:
        """And says how many stay behind; at most a few sentences, however many files there are."""
        few = CarriedFolder(env="OUT", name="out", back=FolderBounds(files_max=3, bytes_max=100))
        _, channel, exited = await ended(place, "for n in range(50): open(f'{n}', 'w').write('x')", few)
        left = exited.folders["out"]
        assert len(left.files) == 3
        assert left.problems == ("it holds more than 3 files: 47 more stay behind.",)
        await channel.close()
        _, channel, exited = await ended(place, "for n in range(50): os.mkfifo(str(n))")
        assert (len(exited.folders["out"].problems), exited.folders["out"].problems_total) == (20, 50)
        await channel.close()

    async def test_a_bound_on_bytes_keeps_what_fits(self, place: Place) -> None:
        """A file beyond it stays behind; the smaller ones go back."""
        few = CarriedFolder(env="OUT", name="out", back=FolderBounds(files_max=9, bytes_max=100))
        _, channel, exited = await ended(
            place, "open('large', 'w').write('x' * 101); open('small', 'w').write('x' * 100)", few
        )
        assert [file.path for file in exited.folders["out"].files] == ["small"]
        assert exited.folders["out"].problems_total == 1
        await channel.close()

    @pytest.mark.parametrize("ending", ["sys.exit(3)", "os.kill(os.getpid(), 9)", "time.sleep(600)"])
    async def test_what_a_failed_script_left_goes_back_too(self, place: Place, ending: str) -> None:
        """With an error, killed, or stopped by its time limit."""
        session, channel, exited = await ended(
            place, f"open('early', 'w').write('early'); {ending}", timeout_s=2.0, grace_s=1.0
        )
        assert exited.exit_code != 0
        assert await read(session, exited, 0) == b"early"
        await channel.close()

    async def test_a_stopped_job_s_folder_goes_back(self, place: Place) -> None:
        """Of one that ran. One that did not run has none."""
        session, channel = await place.start(
            OUT + "open('early', 'w').write('early'); print('up'); time.sleep(600)", folders=(BACK,)
        )
        transcript = await listen(session, until=lambda t: t.stdout == b"up\n")
        await session.stop()
        await listen(session, transcript)
        assert transcript.exited.reason == "stopped"
        assert await read(session, transcript.exited, 0) == b"early"
        await channel.close()

    async def test_it_can_be_fetched_by_the_next_runner(self, place: Place) -> None:
        """From the middle of a file on; what the first one had asked for is dropped."""
        data = bytes(range(256)) * 12_288
        session, channel, exited = await ended(place, "open('big', 'wb').write(bytes(range(256)) * 12_288)")
        async with aclosing(fetched(session, "out", 0, 0, len(data))) as pieces:
            first = await anext(pieces)
        session, channel = await place.again(channel, NOTHING)
        assert (await listen(session)).exited.folders == exited.folders
        rest = b"".join([piece async for piece in fetched(session, "out", 0, len(first), len(data))])
        assert first + rest == data
        await channel.close()

    async def test_a_file_can_be_left_half_read(self, place: Place) -> None:
        """The next one is whole all the same."""
        session, channel, exited = await ended(
            place, "open('a', 'wb').write(b'a' * 3_000_000); open('b', 'wb').write(b'b' * 3_000_000)"
        )
        async with aclosing(fetched(session, "out", 0, 0, 3_000_000)) as pieces:
            await anext(pieces)
        assert await read(session, exited, 1) == b"b" * 3_000_000
        await channel.close()

    async def test_what_is_not_there_cannot_be_fetched(self, place: Place) -> None:
        """A sentence, not a wait without end."""
        session, channel, _ = await ended(place, "open('a', 'w').write('x')")
        for folder, number, at in (("out", 1, 0), ("out", 0, 1), ("none", 0, 0)):
            with pytest.raises(FileLost):
                await anext(fetched(session, folder, number, at, at + 1))
        await channel.close()
        session, channel = await place.start("pass")
        await listen(session)
        with pytest.raises(FileLost):
            await anext(fetched(session, "out", 0, 0, 1))
        await channel.close()

    async def test_a_sandbox_that_is_killed_midway_ends_the_fetching(self, place: Place) -> None:
        """With an error, not a wait."""
        session, channel, _ = await ended(place, "open('a', 'wb').write(b'a' * 9_000_000)")
        pieces = fetched(session, "out", 0, 0, 9_000_000)
        await anext(pieces)
        await self.kill(place, channel)
        with pytest.raises(SandboxGone):
            async for _ in pieces:
                pass
        await channel.close()

    async def test_a_folder_comes_in_before_the_script_starts(self, place: Place) -> None:
        """Bytes, paths, x and time, cut anywhere; the code's folder is another one."""
        files = {"a/b/large.bin": bytes(range(256)) * 10_000, "empty": b"", "run.sh": b"#", "ä\n.txt": b"x"}
        folder = CarriedFolder(
            env="IN",
            name="in",
            files=tuple(
                FolderFile(path=path, size_bytes=len(data), is_executable=path == "run.sh", modified_ns=10**18)
                for path, data in files.items()
            ),
        )
        transcript = await delivered(
            place,
            """
            import hashlib, os, pathlib
            os.chdir(os.environ["IN"])
            assert pathlib.Path.cwd() not in pathlib.Path(__file__).absolute().parents
            for path in sorted(pathlib.Path(".").rglob("*")):
                if path.is_file():
                    status = path.stat()
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    print(ascii(str(path)), digest, oct(status.st_mode & 0o777), status.st_mtime_ns)
            open("a/b/new", "w").write("writable")
            open("empty", "w").write("writable")
            """,
            folder,
            files,
        )
        assert transcript.stdout.decode() == "".join(
            f"{path!a} {hashlib.sha256(files[path]).hexdigest()} {'0o755' if path == 'run.sh' else '0o644'} {10**18}\n"
            for path in sorted(files)
        )
        assert transcript.exited.exit_code == 0, transcript.stderr

    async def test_a_folder_may_be_read_only(self, place: Place) -> None:
        """By its modes: files and folders."""
        folder = CarriedFolder(env="IN", name="in", is_writable=False, files=(FolderFile(path="a/b", size_bytes=1),))
        transcript = await delivered(
            place,
            """
            import os
            for path in ("", "a", "a/b"):
                print(oct(os.stat(os.path.join(os.environ["IN"], path)).st_mode & 0o777))
            """,
            folder,
            {"a/b": b"x"},
        )
        assert transcript.stdout == b"0o555\n0o555\n0o444\n"

    @pytest.mark.parametrize("path", ["../a", "/a", "a//b", "a/../../b", ".", "a\0b", ""])
    async def test_a_path_that_leads_outside_is_refused(self, place: Place, path: str) -> None:
        """User code does not start."""
        folder = CarriedFolder(env="IN", name="in", files=(FolderFile(path=path, size_bytes=1),))
        transcript = await delivered(place, "print('started')", folder, {path: b"x"})
        assert (transcript.exited.reason, transcript.stdout) == ("setup_error", b"")
        assert "is not a safe path" in transcript.exited.message

    @pytest.mark.parametrize("data", [b"", b"xx"])
    async def test_a_source_of_another_size_starts_nothing(self, place: Place, data: bytes) -> None:
        """Neither too few bytes nor too many."""
        folder = CarriedFolder(env="IN", name="in", files=(FolderFile(path="a", size_bytes=1),))
        channel = await place.open()
        job = a_job(folders=(folder,))
        session = await Session.start(channel, job, script("print('started')"))
        with pytest.raises(ContentMismatch):
            await session.deliver(job, contents({"a": data}))
        await session.stop()
        transcript = await listen(session)
        assert (transcript.exited.reason, transcript.stdout) == ("stopped", b"")
        await channel.close()

    async def test_what_arrived_in_part_is_delivered_anew(self, place: Place) -> None:
        """By the next runner: nothing of the first delivery stays."""
        files = (FolderFile(path="a", size_bytes=3_000_000), FolderFile(path="b", size_bytes=1))
        job = a_job(folders=(CarriedFolder(env="IN", name="in", files=files, is_writable=False),))
        channel = await place.open()
        code = script(
            """
            import os
            os.chdir(os.environ["IN"])
            print(sorted(os.listdir()), open("a").read() == "y" * 3_000_000)
            """
        )
        session = await Session.start(channel, job, code)
        broken = contents({"a": b"x" * 3_000_000, "b": b""})
        with pytest.raises(ContentMismatch):
            await session.deliver(job, broken)
        session, channel = await place.again(channel, NOTHING)
        assert session.phase == "preparing"
        await session.hand_over(job, code)
        await session.deliver(job, contents({"a": b"y" * 3_000_000, "b": b"y"}))
        transcript = await listen(session)
        assert transcript.stdout == b"['a', 'b'] True\n"
        await channel.close()

    async def test_one_folder_can_go_in_and_back(self, place: Place) -> None:
        """Changed, added, removed: what is there at the end counts."""
        folder = CarriedFolder(env="IN", name="out", files=(FolderFile("a", 1), FolderFile("b", 1)), back=BACK.back)
        job = a_job(folders=(folder,))
        channel = await place.open()
        code = script(
            """
            import os
            os.chdir(os.environ["IN"])
            os.remove("a")
            open("b", "a").write("2")
            open("c", "w")
            """
        )
        session = await Session.start(channel, job, code)
        await session.deliver(job, contents({"a": b"1", "b": b"1"}))
        exited = (await listen(session)).exited
        assert [(file.path, file.size_bytes) for file in exited.folders["out"].files] == [("b", 2), ("c", 0)]
        assert await read(session, exited, 0) == b"12"
        await channel.close()


async def ended(
    place: Place, source: str, folder: CarriedFolder = BACK, **job: object
) -> tuple[Session, Channel, Exited]:
    """Run a script in a sandbox that stays, with one folder that goes back."""
    session, channel = await place.start(OUT + textwrap.dedent(source), folders=(folder,), **job)
    transcript = await listen(session)
    assert not isinstance(transcript.last, Vanished)
    return session, channel, transcript.exited


async def read(session: Session, exited: Exited, number: int) -> bytes:
    """Return a file of the folder ``out``."""
    size_bytes = exited.folders["out"].files[number].size_bytes
    return b"".join([piece async for piece in fetched(session, "out", number, 0, size_bytes)])


async def delivered(place: Place, source: str, folder: CarriedFolder, files: dict[str, bytes]) -> Transcript:
    """Run a script to its end, with one folder that comes in."""
    job = a_job(folders=(folder,))
    channel = await place.open()
    session = await Session.start(channel, job, script(source))
    await session.deliver(job, contents(files))
    transcript = await listen(session)
    await channel.close()
    return transcript


def contents(files: dict[str, bytes]) -> Contents:
    """The source of a folder, in uneven pieces."""

    async def pieces(file: FolderFile) -> AsyncGenerator[bytes, None]:
        data = files[file.path]
        for at in range(0, len(data), 100_001):
            yield data[at : at + 100_001]

    return {"in": pieces, "out": pieces}
