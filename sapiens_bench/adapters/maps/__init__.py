"""Folders of maps of tasks that say themselves how their maps are stored."""
