"""A tab of TensorBoard, "Diagnosis": the report of every run in its folder; works offline."""
