"""A stack that a script prints of itself, and a profile of it."""

import cProfile
import io
import pstats
import traceback


def inner():
    return traceback.format_stack(limit=2)


def outer():
    return inner()


print("".join(outer()))
profile = cProfile.Profile()
profile.runcall(outer)
text = io.StringIO()
pstats.Stats(profile, stream=text).print_stats("inner")
print("inner" in text.getvalue())
try:
    {}["key"]
except KeyError:
    traceback.print_exc()
