"""What several families share; each family is one file in the folder above."""
