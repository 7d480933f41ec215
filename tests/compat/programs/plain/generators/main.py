"""Iterators, contexts, caches and descriptors of the language itself."""

import functools
import itertools
from contextlib import ExitStack, contextmanager


@contextmanager
def step(name):
    print("begin", name)
    try:
        yield name
    finally:
        print("end", name)


@functools.cache
def fibonacci(number):
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


with ExitStack() as stack:
    for name in ("one", "two"):
        stack.enter_context(step(name))
    print([list(pair) for pair in itertools.pairwise(fibonacci(n) for n in range(6))])
print(fibonacci(200), fibonacci.cache_info().misses)
