# -*- coding: latin-1 -*-
"""A source file in another encoding."""

print("café straße")
