"""Albedo: the base colour of people, without the light that falls on them."""
