"""A module beside the script that does not compile."""

try:
    import broken
except SyntaxError as error:
    print(error.msg, error.lineno, error.filename.endswith("broken.py"))

import broken  # noqa
