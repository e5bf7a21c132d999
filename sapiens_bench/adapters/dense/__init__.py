"""Pictures with maps beside them: labels, depth, normals."""
