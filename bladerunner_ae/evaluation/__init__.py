"""Memory of a trained network for a film, in numbers and pictures; see docs/evaluation.md."""
