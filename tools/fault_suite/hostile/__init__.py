"""Hostile files, made here, and what the commands do with them.

Every kind has a module with ``make(place)``, which writes its files, and ``judge(place)``, which calls the commands a
user would call and says what came of each file. Payloads do one thing only: they create the file that
``Place.canary`` names. Nothing may.
"""
