"""How often a webhook's key may be guessed."""

from __future__ import annotations

from fastflow_gateway.security.rate_limit import CLIENTS_MAX
from fastflow_gateway.security.webhook_guard import CLIENT_BURST, PIPELINE_BURST, PROVEN_S, WebhookCall, WebhookGuard


def guess(guard: WebhookGuard, client: str, pipeline: str, now_s: float = 0, *, known: bool = True) -> bool:
    """Send one wrong key; return False if the client had to wait."""
    attempt = WebhookCall(client, pipeline)
    if guard.wait_s(attempt, now_s):
        return False
    guard.begin(attempt, now_s)
    if known:
        guard.wrong(attempt, now_s)
    return True


def test_a_client_that_guesses_waits_for_every_pipeline() -> None:
    """Unknown names count too. After some time it may try again."""
    guard = WebhookGuard()
    tried = [guess(guard, "client", f"p{n}", known=bool(n % 2)) for n in range(CLIENT_BURST + 5)]
    assert tried.count(True) == CLIENT_BURST
    assert guard.wait_s(WebhookCall("client", "p1"), 0) == 6
    assert guard.wait_s(WebhookCall("other", "p1"), 0) == 0
    assert guess(guard, "client", "p1", 6)
    assert not guess(guard, "client", "p1", 6)


def test_guesses_at_the_same_time_are_all_counted() -> None:
    """A call counts as wrong until it is checked; a right one is taken back."""
    guard, attempt = WebhookGuard(), WebhookCall("client", "p")
    for _ in range(CLIENT_BURST):
        assert not guard.wait_s(attempt, 0)
        guard.begin(attempt, 0)
    assert guard.wait_s(attempt, 0)
    guard.right(attempt, 0)
    assert not guard.wait_s(attempt, 0)


def test_many_addresses_do_not_help_a_guesser() -> None:
    """If a pipeline is guessed at from everywhere, all unknown clients of that pipeline wait, and no other
    pipeline's.
    """
    guard = WebhookGuard()
    tried = [guess(guard, f"client {n}", "p") for n in range(PIPELINE_BURST + 50)]
    assert tried.count(True) == PIPELINE_BURST
    assert guard.wait_s(WebhookCall("stranger", "p"), 0)
    assert not guard.wait_s(WebhookCall("stranger", "q"), 0)


def test_a_client_with_a_right_key_is_not_shut_out() -> None:
    """Until its first wrong key makes it unknown again."""
    guard, friend = WebhookGuard(), WebhookCall("friend", "p")
    guard.begin(friend, 0)
    guard.right(friend, 0)
    for n in range(PIPELINE_BURST):
        guess(guard, f"client {n}", "p")
    assert not guard.wait_s(friend, 0)
    assert guess(guard, "friend", "p")
    assert guard.wait_s(friend, 0)
    for n in range(PIPELINE_BURST):
        guess(guard, f"later {n}", "p", PROVEN_S)
    guard.right(WebhookCall("old friend", "p"), 0)
    assert guard.wait_s(WebhookCall("old friend", "p"), PROVEN_S)


def test_memory_is_bounded_and_a_pipelines_count_cannot_be_pushed_out() -> None:
    """With any number of clients and names."""
    guard = WebhookGuard()
    for n in range(PIPELINE_BURST):
        guess(guard, f"client {n}", "p")
    for n in range(CLIENTS_MAX + 10):
        guess(guard, f"flood {n}", f"no pipeline {n}", known=False)
        guard.right(WebhookCall(f"flood {n}", "q"), 0)
    assert guard.wait_s(WebhookCall("stranger", "p"), 0)
    assert len(guard._clients._spent) <= CLIENTS_MAX
    assert len(guard._proven) <= CLIENTS_MAX
