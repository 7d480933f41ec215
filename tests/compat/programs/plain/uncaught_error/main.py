"""A traceback with a cause, then exit code 1."""


def read(text):
    try:
        return int(text)
    except ValueError as error:
        raise RuntimeError(f"not a number: {text!r}") from error


print("before")
read("zwölf")
print("never")
