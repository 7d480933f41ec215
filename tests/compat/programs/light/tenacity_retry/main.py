"""Retries that give up, with what was tried."""

import tenacity

tries = []


@tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_fixed(0.01))
def fetch():
    tries.append(len(tries))
    raise ConnectionError("no route")


try:
    fetch()
except tenacity.RetryError as error:
    print(tries, error.last_attempt.attempt_number, error.last_attempt.exception())
for attempt in tenacity.Retrying(stop=tenacity.stop_after_attempt(2), reraise=True):
    with attempt:
        print("attempt", attempt.retry_state.attempt_number)
        if attempt.retry_state.attempt_number == 1:
            raise ValueError("once")
