"""Verify this installation against folders of official inputs and outputs."""
