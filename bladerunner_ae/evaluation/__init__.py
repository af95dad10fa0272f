"""What a trained network remembers of a film, in numbers and pictures; see docs/evaluation.md."""
