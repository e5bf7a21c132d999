"""Some samples of a data set, chosen by what is known about them."""
