"""What tests of this package, and of plug-ins, need: a toy task with data set and model, and a hub server.

from sapiens_bench.testing import toy

with toy.installed():
    record = toy.go(tmp_path, options={"bias": 0.25})
"""
