"""COCO-format people: annotations, boxes, layouts."""
