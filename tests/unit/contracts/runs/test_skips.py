"""How a refused message is packed into its dead letter, and which run a redrive starts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastflow_contracts.bus.streams import PAYLOAD_BYTES_MAX, TRIGGER_BYTES_MAX
from fastflow_contracts.ids import RunId
from fastflow_contracts.runs.messages import TRIGGER, Trigger
from fastflow_contracts.runs.run import Ended, RunRecord, Verdict
from fastflow_contracts.runs.skips import Letter, _packed, _unpacked, letter_of, redrive_id
from fastflow_contracts.runs.triggers import read_trigger
from tests.support.records import T0, a_run

NAMES = st.text("abcNats-FfExpected_~!é \t:", min_size=1, max_size=30)
SKIP = RunId("00000000-0000-4000-8000-000000000001")


def size(payload: bytes, headers: dict[str, str]) -> int:
    """Bytes of a message on the wire, with the header that makes its write a compare-and-set."""
    fixed = len("NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: 0\r\n\r\n")
    return fixed + len(payload) + sum(len(f"{name}: {value}\r\n".encode()) for name, value in headers.items())


@given(payload=st.binary(max_size=50), headers=st.dictionaries(NAMES, st.text(max_size=20), max_size=6))
def test_every_message_comes_back_as_it_was(payload: bytes, headers: dict[str, str]) -> None:
    """With any headers; none of them acts on the bus, and all are ASCII."""
    packed, sent, is_whole = _packed(Letter(payload, headers), "a reason", PAYLOAD_BYTES_MAX)
    assert is_whole
    assert _unpacked(packed, sent) == Letter(payload, headers)
    assert not [name for name in sent if "nats-" in name.lower()]
    assert all(f"{name}{value}".isascii() and "\n" not in value for name, value in sent.items())


def test_the_largest_trigger_fits_with_all_its_headers() -> None:
    """It may have as many headers as fit into a message."""
    headers = {f"X-{number}": "v" * 1_000 for number in range(100)} | {"Nats-Msg-Id": "k"}
    room = TRIGGER_BYTES_MAX - size(b"", headers)
    packed, sent, is_whole = _packed(Letter(b"x" * room, headers), "r" * 1_000, PAYLOAD_BYTES_MAX)
    assert (is_whole, len(packed)) == (True, room)
    assert size(packed, sent) <= PAYLOAD_BYTES_MAX


def test_what_does_not_fit_loses_its_headers_before_its_payload() -> None:
    """Only messages that an older version accepted, or headers that grow when they are written as JSON."""
    letter = Letter(b"x" * 900, {"X-Name": "é" * 100})
    packed, sent, is_whole = _packed(letter, "reason", 1_400)
    assert (is_whole, packed) == (False, letter.payload)
    packed, sent, is_whole = _packed(letter, "reason", 800)
    assert (is_whole, letter.payload.startswith(packed), len(packed) > 500) == (False, True, True)
    assert size(packed, sent) <= 800


def test_a_start_without_a_message_gets_one_in_its_dead_letter() -> None:
    """Read again it is the same trigger; that its caller knew the run does not hold for a redrive."""
    trigger = Trigger(triggered_by="schedule", run_config_id="prod", env_vars={"A": "1"}, accepted=True)
    letter = letter_of(trigger)
    assert read_trigger(letter.payload, letter.headers, by_service=letter.by_service) == TRIGGER.decode(letter.payload)
    assert not TRIGGER.decode(letter.payload).accepted
    assert TRIGGER.decode(letter.payload).env_vars == {"A": "1"}


async def test_a_redrive_is_the_run_that_the_start_would_have_been() -> None:
    """If the record of its refusal has that id, it takes the next one; a key asks for another run."""
    known: dict[RunId, RunRecord] = {}

    async def find(run_id: RunId) -> RunRecord | None:
        return known.get(run_id)

    assert await redrive_id(SKIP, None, find) == SKIP
    known[SKIP] = replace(a_run("demo"), id=SKIP)
    assert await redrive_id(SKIP, None, find) == SKIP
    refused = Ended(verdict=Verdict.INTERRUPTED, at=T0, refused=True)
    known[SKIP] = replace(a_run("demo"), id=SKIP, state=refused)
    second = await redrive_id(SKIP, None, find)
    assert second != SKIP
    known[second] = replace(a_run("demo"), id=second, state=refused)
    assert len({SKIP, second, await redrive_id(SKIP, None, find)}) == 3
    assert await redrive_id(SKIP, "k", find) == await redrive_id(SKIP, "k", find)
    assert len({SKIP, second, await redrive_id(SKIP, "k", find), await redrive_id(SKIP, "l", find)}) == 4
