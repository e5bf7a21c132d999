"""Cards: what a model family, a data set, a keypoint or label set, or a published table is. Data only, no code."""
