"""An exception group that is not handled."""

problems = []
for text in ("1", "x", "y"):
    try:
        int(text)
    except ValueError as error:
        problems.append(error)
if problems:
    raise ExceptionGroup("bad rows", problems)
