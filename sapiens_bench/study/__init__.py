"""Studies: one data set under named conditions, paired picture by picture, and what each condition does to a score."""
