"""A recursion without an end is an error like any other."""


def down(depth):
    return down(depth + 1)


try:
    down(0)
except RecursionError as error:
    print(str(error).startswith("maximum recursion depth exceeded"))
