"""Expressions in CEL: checked at sync, evaluated in a process of their own."""
