"""Saliency for sapiens-bench."""
