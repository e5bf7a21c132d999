"""``python -m sapiens_bench``: the same as the ``sapiens-bench`` script."""

from sapiens_bench.cli import main

main()
