"""Caches with limits, and tools for iterators."""

import cachetools
import more_itertools

cache = cachetools.LRUCache(maxsize=2)
for name in ("a", "b", "a", "c"):
    cache[name] = cache.get(name, 0) + 1
print(sorted(cache.items()), cache.currsize)
clock = iter(range(100)).__next__
timed = cachetools.TTLCache(maxsize=10, ttl=3, timer=clock)
timed["x"] = 1
for _ in range(5):
    clock()
print("x" in timed)
print(list(more_itertools.chunked(range(7), 3)), more_itertools.first_true([0, None, 5]))
print([list(group) for group in more_itertools.split_when([1, 2, 4, 5, 9], lambda a, b: b - a > 1)])
