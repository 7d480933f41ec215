"""Bytes to the buffer, with a line end or without."""

import sys

sys.stdout.buffer.write("gräßlich — 日本語 🙂\n".encode())
sys.stdout.buffer.write(b"no end of line")
sys.stdout.flush()
sys.stderr.buffer.write(b"\x1b[31mred\x1b[0m\r\n")
