"""Conditions: a data set whose pictures or boxes are made worse on purpose, its truth untouched."""
