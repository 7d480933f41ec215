import os

print(*(os.environ[f"L{level}"][::-1] for level in range(1, 7)))
