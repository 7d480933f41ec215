"""argparse without arguments, with some arguments, and with a wrong one."""

import argparse

parser = argparse.ArgumentParser(prog="report", description="Make a report.")
parser.add_argument("--rows", type=int, default=10)
parser.add_argument("--format", choices=["csv", "json"], default="csv")
print(parser.parse_args())
print(parser.parse_args(["--rows", "3"]))
print(parser.format_help())
parser.parse_args(["--format", "pdf"])
