"""What a model is worth: metrics, calibration, slices, the gate's statistics, the report."""
