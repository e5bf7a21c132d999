"""Point maps: where in space every pixel of a person is."""
