"""The code that the toy cards name; it lives in the package so that tests can import it, too."""

from sapiens_bench.testing.toy import ToyAdapter, ToyModel

__all__ = ["ToyAdapter", "ToyModel"]
