"""What measured rows are for: is A better than B (``compare``), and did a change break anything (``gate``)?

sides (a run folder or a baseline file) -> agreement (may they be compared?) -> pairs (paired bootstrap) -> the answer.
"""
