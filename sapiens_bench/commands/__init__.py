"""What each command does, one module each; ``cli.py`` only parses. Part of the ``cli`` group of the import rule."""
