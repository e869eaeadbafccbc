"""What the command lines of the benchmarks take."""

import argparse


def positive(text: str) -> int:
    """Read a whole number from 1."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} should be a number from 1")
    return int(text)
