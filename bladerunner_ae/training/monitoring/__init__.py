"""What TensorBoard shows of a run, beside the numbers and pictures that the run folder holds."""
