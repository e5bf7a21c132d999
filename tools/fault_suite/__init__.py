"""Faults on purpose: kills, full disks, flipped bits, two runs at once, hostile files; and what they cost.

``python tools/measure_faults.py OUT.json`` injects all of them at random moments and writes the figures; the tests in
``tests/faults`` do the same with fewer. Every draw follows from the seed; when a signal arrives depends on the machine.
"""
