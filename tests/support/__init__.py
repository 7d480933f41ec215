"""Builders and waits that several suites share. No assertions here."""
