"""One line of three megabytes, then a short one."""

print("0123456789ü" * 270_000)
print("after")
