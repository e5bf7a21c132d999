"""Cards of the plug-in."""
