"""How many bootstrap draws are made where nobody asks for another number."""

OF_SCORES = 1000  # of the scores of a run: for the ends of an interval
OF_DIFFERENCES = 2000  # of two runs, or the conditions of a study: for a p that Holm's correction multiplies
